/* Functions of every shape that C has known. { " ' */
#include <stdio.h>
#include "local{.h"

int plain(void) { return 0; }
static int hidden(int a, int b)
{
    return a < b ? '{' : '}';
}
static inline __attribute__((always_inline)) unsigned long long int wide(unsigned x) { return x; }
extern inline int external_inline(void);
_Noreturn void die(const char *why, ...);
[[noreturn]] void die_too(void) { for (;;) { } }

/* old style */
int old_style(a, b, c)
    int a;
    char *b, *c;
{
    return a + (b == c);
}

main(argc, argv)
char **argv;
{
    return 0;
}

double old_pointer(f, x) double (*f)(double); double x; { return f(x); }
struct point *old_struct(p)
    register struct point *p;
{ return p; }

/* types on lines of their own */
static
const char *
split_name
    (
    int n
    )
{
    static const char *table[] = { "{", "}", "\"{\\" };
    struct local { int inside; } l = { 1 };
    int nested(void);
    enum { LOCAL_A, LOCAL_B };
    typedef int local_t;
    return table[n + l.inside];
}

/* pointers and functions */
void (*signal_like(int sig, void (*handler)(int)))(int);
int (*pick(char op))(int, int)
{
    return 0;
}
int (*(*deep(void))(int))[3] { return 0; }
int (paren_name)(int a) { return a; }
char *(paren_proto)(void);
void takes_callbacks(int (*cmp)(const void *, const void *), void (*)(void)) { }
int takes_arrays(int n, int a[static 3], int b[n][*], char s[restrict]) { return 0; }
struct point make_point(int x, int y) { return (struct point){ .x = x, .y = y }; }
struct point *find_point(struct { int k; } *weird) { return 0; }
enum color pick_color(void) { return 0; }
union value *first_value(void);
unsigned unsigned_default(void) { return 1U; }
const struct point *const const_result(void) { return 0; }
long a_proto(int), b_proto(char);
int c_proto(void), an_int, *a_pointer, an_array[3];
void attribute_last(int x) __attribute__((nonnull(1), deprecated("use { other }")));
void __attribute__((cold)) attribute_middle(void) { }
__attribute__((visibility("default"))) void attribute_first(void) { }
__declspec(dllexport) int __stdcall windows_call(int x) { return x; }
int asm_name(int) __asm__("_renamed") __attribute__((const));
void body_with_everything(void)
{
    if (1) { goto out; } else { }
    switch (2) { case '{': break; default: break; }
    do { } while (0);
    const char *s = "}" "}" /* } */ "}"; // }
    int x = ({ int y = 1; y; });
    asm volatile ("nop" : "=r"(x) : "r"(x) : "memory");
out:
    return;
}
static void declared_in(void), (*also_pointer)(int), *(*both)(void);
typeof(int) typeof_result(void) { return 0; }
_Atomic(int) atomic_result(void);
int variadic(const char *format, ...) __attribute__((format(printf, 1, 2)))
;
int no_space(void){return 0;}int next_to_it(void){return 1;}
size_t unknown_type(wchar32 x, foo_t *y) { return sizeof(x) * sizeof(y); }
foo_t *unknown_pointer(void);
foo_t (*unknown_fp)(int, foo_t);
foo_t (unknown_paren)(int);
void empty_statement(void) { ; };
int last_function(int a) { return a; }
