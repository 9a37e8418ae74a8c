/* Variables of a file. */
int one;
int two = 2, three = 3;
static const char *const names[] = { "a,b", "c;d", "e}f", [4] = "g{h" };
extern int declared_elsewhere;
extern struct opaque *declared_opaque;
int matrix[3][4] = { { 1, 2 }, { 3, 4 }, };
int *p, **pp, ***ppp, * const cp = &one, (*pa)[3], *ap[3];
int (*fp)(int), (*fps[2])(void) = { 0, 0 };
void (*(*table[4])(int))(char);
double d = 1.5e+10, e = .5, f = 0x1p-3;
char c = '{', quote = '\'', backslash = '\\', dq = '"', multi = 'ab';
const char *joined = "one" " {two "
    "three}" /* "four" */ "five";
const char *continued = "line one \
  { line two";
struct point origin = { .x = 0, .y = (1, 2) }, *where = &(struct point){ 1, 2 }, corners[4];
struct point { int x, y; } first_point = { 1, 2 }, *point_list;
struct { int a; struct { int b; } inner; } anonymous_var;
union { char bytes[4]; unsigned word; } *punned, other_pun;
enum { RED, GREEN = 'G', BLUE = (1 << 3) } paint = BLUE;
enum shade { LIGHT, DARK } shade_now, *shade_next;
static struct config {
    const char *path;
    int (*open)(struct config *, int flags);
} defaults = {
    .path = "/etc/{x}",
    .open = 0,
}, overrides[] = { { "a", 0 }, { .path = "b" } };
volatile unsigned long long int ticks;
_Thread_local int per_thread = 1;
static _Alignas(16) unsigned char aligned_buffer[sizeof(int) * (1 < 2 ? 3 : 4)];
int aligned_last __attribute__((aligned(8))), and_more = 3;
_Static_assert(sizeof(int) >= 2, "an int; has { two bytes");
static_assert(1);
_Atomic int counter = 0;
_Atomic(long) counted;
typeof(one) like_one = 1;
__typeof__(int *) like_pointer;
int comparison = 1 < 2, another = 3 > 2, shifted = 1 << 4 >> 2;
int chosen = _Generic(0, int: 1, default: 2), after_generic;
void *vp = &(struct { int hidden_field; }){ 3 }.hidden_field;
int (in_parens), (*in_more)[2];
size_t known_later;
foo_t a_foo, *foo_pointer, foo_array[2] = { { 0 }, { 1 } };
register int reg_var;
wchar_t wide_string[] = L"wide { string", wide_char = L'{';
const char *utf = u8"\u007b{" , *utf16 = (void *)u"}";
long long separators = 1'000'000, hex = 0xFF'FF;
int naïve = 1, größe, переменная;
