#ifndef TYPES_H
#define TYPES_H

/* Forward ones are not told. */
struct opaque;
union also_opaque;
enum opaque_enum;

/** A point in a plane. */
struct point {
    int x; /* not above { */
    int y; // nor below }
};

typedef struct point point_t, *point_ptr;
typedef struct list_node list_node;
struct list_node {
    struct list_node *next, **prev_link;
    void (*destroy)(struct list_node *self);
    int (*callbacks[3])(int, char), count;
    const char *const *names;
    unsigned flags : 3, : 2, more_flags : 1;
    unsigned : 0;
    uint32_t : 4;
    uint8_t bits : (sizeof(int) < 8 ? 1 : 2);
    char data[];
};

typedef struct {
    int width;
    struct { int r, g, b; } color;
    union {
        float as_float;
        int as_int;
    };
} anonymous_typedef, *anonymous_pointer;
typedef struct tagged { int t; } tagged, *tagged_ptr, tagged_array[4];
typedef struct { int only_pointer; } *handle;
typedef union value {
    long l; double d;
    struct pair { int left, right; } pair;
    enum value_kind { VK_LONG, VK_DOUBLE = 7, } kind;
} value_t;

enum color {
    COLOR_RED,
    COLOR_GREEN = 1 << 4, COLOR_BLUE /* { */ = ',',
    COLOR_CALL = MAKE(1, 2) + sizeof(struct { int in_sizeof; }),
    COLOR_OLD __attribute__((deprecated)) = 9,
#ifdef EXTRA_COLORS
    COLOR_EXTRA,
#else
    COLOR_PLAIN
#endif
};
typedef enum { OFF, ON } toggle;
typedef enum level { LOW = -1, HIGH } level_t;
enum { LIMIT_A = 10, LIMIT_B = 'x' };
enum fixed : unsigned char { FIXED_ONE };

typedef int number, *number_ptr, number_array[10];
typedef int (*compare_fn)(const void *, const void *);
typedef void handler_fn(int sig);
typedef int (*(*fn_returning_fn)(int))(char);
typedef unsigned long long u64;
typedef struct opaque *opaque_handle;
typedef foo_t bar_t;
typedef foo_t (*foo_maker)(void), *foo_ref;
typedef __typeof__(sizeof(0)) my_size;
typedef int vector4 __attribute__((vector_size(16)));
typedef void (WINAPI *win_callback)(int);
typedef void (__stdcall *std_callback)(int);
typedef int bool_array[2][3], (*array_pointer)[4];
int typedef backwards;

struct __attribute__((packed)) packed_first { char a; };
struct packed_last { char a; int b; } __attribute__((packed, aligned(4)));
struct __declspec(align(16)) aligned_struct { float v[4]; };
struct attributed {
    int a __attribute__((aligned(8)));
    __attribute__((deprecated("no { more"))) int b, c;
    _Alignas(8) char d;
    [[deprecated]] int e;
    int f[sizeof(struct { int q; })];
    _Static_assert(1, "in struct {");
    volatile const unsigned g;
    struct point h, *i;
    struct point (*j)(struct point, int (*)(void));
    enum color k : 4;
    struct deep { struct deeper { struct deepest { int bottom; } z; } y; } x;
};
struct
on_next_line
{
    int
        lonely
        ;
};
struct empty { };
union just_union { int i; float f; } just_one_union;
struct PACKED_STRUCT macro_packed { int m; } PACKED;
#endif /* TYPES_H { */
