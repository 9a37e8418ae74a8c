/* Macros, and branches whose braces only balance in one reading. */
#define EMPTY
#define NUMBER 42
#define STRING "a { string" /* and a comment { */
#define OPEN {
#define CLOSE }
#define SQUARE(x) ((x) * (x))
#define NO_ARGS() do {
#define VARIADIC(fmt, ...) printf(fmt, __VA_ARGS__)
#define NAMED_VARIADIC(args...) args
#define NOT_FUNCTION (x)
  #  define INDENTED 1
#	define	TABBED	2
#define MULTI(a, b) \
    do { \
        if ((a) > (b)) { \
            swap(a, b); \
        } \
    } while (0)
#define \
    SPLIT_NAME \
    3
#define CHAR_MACRO '"'
#define QUOTED "\"" /* " */ '\''
#define STRINGIFY(x) #x
#define PASTE(a, b) a##b
#define FUNC_TEMPLATE(type) static type type##_identity(type v) { return v; }
#define COMMENTED /* starts here
   and goes { on */ 5
#undef NUMBER
#define NUMBER 43
#pragma pack(push, 1) // {
#error "don't { stop
#line 100 "other.c"
#warning it's { odd

FUNC_TEMPLATE(int)
FUNC_TEMPLATE(double);
DECLARE_LIST(node, struct node *);

#if 0
int not_compiled(void) { don't even { lex
#define NOT_DEFINED 1
"unterminated
#else
int compiled(void) { return 1; }
#endif

#if 1
int taken(void) { return 1; }
#else
int not_taken(void) { return 1; }
#endif

#ifdef WINDOWS
int two_heads(HANDLE h) {
#else
int two_heads(int fd) {
#endif
    return 0;
}

#if defined(A) && \
    defined(B)
int whole_a(void) { return 1; }
#elif defined(C)
int whole_b(void) { return 2; }
#else
int whole_c(void) { return 3; }
#endif

int inner_branches(int x)
{
#ifdef FAST
    if (x > 1) {
#else
    if (x > 2) {
        while (x) {
#endif
            x--;
#ifdef FAST
    }
#else
        }
    }
#endif
    return x;
}
int after_inner(void) { return 0; }

#ifdef LONG_ARGS
int balanced_heads(long a,
                   long b)
#else
int balanced_heads(int a, int b)
#endif
{
    return a + b;
}

#ifdef __cplusplus
extern "C" {
#endif
int in_linkage(void);
#ifdef __cplusplus
}
#endif
int after_linkage(void);

static
#ifdef NEED_INLINE
inline
#endif
int split_specifier(void) { return 1; }

int half_body(int x)
{
    if (x) {
#ifdef DEBUG
        trace();
    } else if (x > 2) {
#endif
        x = 1;
    }
    return x;
}

#ifdef OUTER
# ifdef INNER
int both_defined(void) {
# else
int only_outer(void) {
# endif
    return 1;
}
#else
int neither(void) { return 2; }
#endif

#ifndef HAVE_STRDUP
char *strdup(const char *s)
{
    return 0;
}
#endif

struct conditional {
    int always;
#ifdef WIDE
    long maybe;
#else
    int maybe;
#endif
#if VERSION >= 3 /* { */
    int newer;
#endif
};

#ifdef POSIX
struct conditional_head {
    int posix_only;
#else
struct conditional_head {
    int windows_only;
#endif
    int shared;
};

int params(int a
#ifdef WITH_B
    , int b
#endif
    )
{
#define IN_BODY 1
    return a + IN_BODY;
#undef IN_BODY
}
#if defined __GNUC__
int array[] = {
    1,
#else
int array[] = {
    2,
#endif
    3
};
#ifdef NOTHING
#endif
int final_function(void) { return '#'; }
#define LAST_LINE
