// Namespaces of every shape.
#include <string>
namespace outer { 
int in_outer;
namespace inner { void f(); }
inline namespace v1 { class Versioned; struct Real { int x; }; }
namespace { int hidden() { return 1; } struct Anon { int a; }; }
} // namespace outer }
namespace a::b::c { enum class Mode : unsigned char { Read = '{', Write }; }
namespace a::inline b2::c2 { int deep = 1; }
namespace [[deprecated("use { other }")]] old { int o; }
namespace vis __attribute__((visibility("default"))) { int v; }
namespace lib LIB_VISIBILITY(default) { int w; }
namespace alias = outer::inner;
namespace alias2 = ::a::b::c;
using namespace outer;
using outer::in_outer;
using std::string, std::vector;
void outer::inner::f() { }
int ::outer::defined_absolute() { return 1; }
namespace outer { void inner::g(int) { } }
inline namespace top {
    constexpr int kTop = 3;
    namespace sub {
        using Alias = int;
        typedef int Typedef;
        extern int extern_one;
        extern "C" { int c_linked(void);
            struct CStruct { int m; }; }
        extern "C" int c_single(int);
    } }
static void file_level() {
    namespace fs = std::filesystem;
    struct Local { void inside() { } };
    auto lambda = [](int x) { return x; };
}
namespace empty { }
namespace x { namespace y { namespace z { void bottom(); } } void middle(); } void top_again();
namespace
on_next_line
{
class C
{
    int m_;
};
}
