module;
#include <vector>
export module app.core:part;
import std;
import <string>;
export import app.base;
export int exported() { return 1; }
export class ExportedClass { int x; };
export template <class T> T exported_template(T t) { return t; }
export namespace api { int in_api(); }
export { int in_block; void in_block_too() { } }
export using Alias = int;
export constexpr auto kExported = 3;

auto [first, second] = std::pair{1, 2};
const auto &[ref_a, ref_b] = pair_of("{");
constinit thread_local int ci = 1;
constexpr auto lambda = [](auto x) noexcept -> int { return x < 1 ? 2 : 3; };
auto capture = [a = 1, b = std::vector<int>{1, 2}](int x) mutable { return a + x; }, other = 4;
static const std::map<std::string, std::function<void(int)>> kHandlers = {
    {"a}", [](int) { if (1) { } }},
    {"b", nullptr},
};
std::vector<std::vector<int>> nested{{1, 2}, {3}};
const char *raw = R"(} " /* )";
const char *raw2 = R"delim(a )" b )not_delim" } )delim", *raw3 = u8R"x()x";
const wchar_t *raw4 = LR"(
int not_here() { return 1; }
class NotHere {
)";
int after_raw() { return R"()"[0]; }
int digits = 1'000, hex = 0x1'F, bin = 0b1'0;
char ch = '\'', brace = '{';
decltype(auto) deduced() { return 1; }
decltype(digits) same_type = 2, *same_pointer;
auto trailing(int a) noexcept -> std::pair<int, int> { return {a, a}; }
auto fp_trailing() -> int (*)(int);
auto array_trailing() -> int (&)[3];
[[nodiscard]] [[deprecated("no }")]] int attributes();
[[using gnu: cold, hot]] void gnu_attributes() { }
int attribute_after [[maybe_unused]] = 1, next_after [[maybe_unused]];
void param_attributes([[maybe_unused]] int a, int b [[maybe_unused]] = 1) { }
consteval int immediate(int n) { return n; }
enum class Byte : unsigned char {};
enum Plain { PlainA, PlainB = PlainA + 2, PlainC = sizeof(std::pair<int, int>) };
struct Point { int x = 0, y = 0; auto operator<=>(const Point &) const = default; };
Point designated{.x = 1, .y = 2};
struct Coro { struct promise_type { Coro get_return_object() { return {}; } }; };
Coro coroutine() { co_await something(); co_return; }
struct Visitor { void operator()(this auto &&self) { } static int operator()(int) { return 1; } };
inline int inline_variable = 1;
extern "C++" int linkage_variable;
using Callback = std::function<void(const std::string &, int)>;
using Pointer [[maybe_unused]] = int *;
using FnPointer = int (*)(int, char);
using Struct = struct Tagged *;
typedef std::map<std::string, std::pair<int, int>> Map, *MapPointer;
typedef decltype(nullptr) Null;
typedef enum class Old { OldA } OldAlias;
bool compare = digits < hex, compare2 = digits > (hex), compare3 = digits < 3 && hex > 4;
bool tmpl = std::is_same<int, long>::value, tmpl2 = is_any_v<int, char, long>;
int ternary = digits ? hex : bin, after_ternary;
void noexcept_fn() noexcept(noexcept(deduced()) && sizeof(int) > 2) { }
void array_ref(int (&a)[3], int (*p)[4], int (&&r)[2]) { }
int (&returns_array_ref())[3] { static int a[3]; return a; }
void (*fn_pointer)(int) = [](int) { };
void (*brace_pointer)(int){nullptr};
jint(JNICALL *convention_pointer)(void *env, int n){};
std::function<int(int)> fn_object = [](int x) { struct L { int y; }; return x; };
int x1, *x2, &x3 = x1, &&x4 = 1, x5[2], (*x6)();
volatile int *const volatile cv = nullptr;
long long unsigned int words_mixed() { return 1; }
class Später { int größe; };
static_assert(sizeof(Point) > 4 && "}", "{");
asm("nop {");
; ; ;
void default_lambda(std::function<int()> f = [] { return 1; }, int n = sizeof(int) < 4) { }
int last_one(void) { return '"'; }
