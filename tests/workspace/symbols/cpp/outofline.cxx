#include "outofline.hpp"
namespace app { class Pool { class Worker { Worker(); ~Worker(); void run(); static int n; }; Pool(int); }; }
app::Pool::Pool(int n) : workers_{n}, map_{{1, "}"}, {2, "{"}}, Base<int>(n), other_(f({1}))
{
    for (int i = 0; i < n; ++i) { workers_.push_back({}); }
}
app::Pool::Worker::Worker() = default;
app::Pool::Worker::~Worker() { }
void app::Pool::Worker::run() { auto l = [&]() -> void { }; }
int app::Pool::Worker::n = 0;
namespace app {
void Pool::extra(const std::map<int, std::string> &m) const noexcept { }
Pool::Result Pool::result() { return {}; }
auto Pool::size() const -> std::size_t { return 1; }
std::unique_ptr<Pool::Worker> Pool::make() && { return nullptr; }
template <class T> void Pool::submit(T &&task) { }
const std::string Pool::kName = "pool {", Pool::kOther;
std::atomic<int> Pool::counter{0};
thread_local std::vector<int> Pool::cache(3, 1);
struct Pool::Hidden { int h; Hidden() : h(1) { } };
Pool::Hidden::Hidden() : h{2} { }
enum class Pool::Mode { Fast, Slow };
static int helper(Pool &p) { return p.size(); }
int (*Pool::handler)(int) = nullptr;
int (*Pool::get_handler(int n))(int) { return handler; }
int Pool::*Pool::member = nullptr;
} // app
Plain::Plain(int a, int b) : a_(a), b_(b) { }
Plain::Plain(const Plain &o)
  : a_{o.a_}
  , b_ { o.b_ }
  , fn_{ [] { return 1; } }
#ifdef EXTRA
  , extra_{1}
#endif
{ }
Plain::Plain() try : a_(1) { } catch (...) { throw; }
Plain::~Plain() noexcept(false) = default;
Plain &Plain::operator=(const Plain &) & = default;
void Plain::pack() const volatile && noexcept { }
[[nodiscard]] static inline constexpr int Plain::weird() { return 1; }
EXPORT_MACRO void Plain::exported() { }
EXPORT_CALL(int) Plain::exported_call() { return 1; }
void Plain::after_macro() NOEXCEPT_MACRO { }
template <> template <> void A<int>::B<char>::f<long>(long l) { }
template <class T, class U> typename A<T>::template B<U>::type A<T>::B<U>::g(std::pair<T, U> (*fp)(T, U)) { return {}; }
int global = Plain::make(1).value(), another{Plain{}.value()};
Plain instance("text", 3), other_instance{1, 2}, third = {1};
std::string text(R"(void raw() { })");
Plain *Plain::self() { return this; } int tail;
unsigned Plain::*const kOffsets[] = {&Plain::a_, &Plain::b_};
