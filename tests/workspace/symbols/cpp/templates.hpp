template <typename T>
class Box {
public:
    Box(T t) : t_(t) {}
    template <typename U> Box(const Box<U> &other);
    Box(const Box<T> &) = default;
    ~Box();
    T get() const;
    template <typename U> U convert() const { return U(t_); }
    typename T::value_type value();
    struct Iterator { T *p; Iterator &operator++(); };
    template <class K, class V> struct Entry { K key; V value; };
    static int instances;
private:
    T t_;
};
template <> class Box<void> { int nothing; };
template <typename T> class Box<T *> : Box<void> { T *p; };
template <typename T, int N> struct Box<T[N]> { T a[N]; };
template <typename R, typename... A> struct Box<R(A...)> { R (*fn)(A...); };
template <typename T> T Box<T>::get() const { return t_; }
template <typename T> template <typename U> Box<T>::Box(const Box<U> &other) : t_(other.get()) { }
template <typename T> Box<T>::~Box() { }
template <typename T> int Box<T>::instances = 0;
template <typename T> typename Box<T>::Iterator &Box<T>::Iterator::operator++() { ++p; return *this; }
template <> int Box<int>::get() const { return 1; }
template class Box<int>;
extern template class Box<char>;
template int max<int>(int, int);
template void Box<long>::get() const;

template <class T> T max(T a, T b) { return a > b ? a : b; }
template <> const char *max<const char *>(const char *a, const char *b) { return a; }
template <class T, class U> auto add(T t, U u) -> decltype(t + u);
template <template <class, class> class C, class T = std::pair<int, std::vector<int>>> void template_template(C<T, T> c);
template <int N, bool B = (N < 3)> struct NonType { static constexpr int value = N < 3 ? N : 3; };
template <int N, bool B = N < 3> struct Ambiguous { int a; };
template <class T, class = std::enable_if_t<(sizeof(T) > 4)>> void sfinae(T);
template <class T, std::enable_if_t<std::is_same<T, int>::value && !std::is_same_v<T, long>, int> = 0> void sfinae2(T t) { }
template <class... Ts> struct Overloaded : Ts... { using Ts::operator()...; };
template <class... Ts> Overloaded(Ts...) -> Overloaded<Ts...>;
template <class T> Box(T) -> Box<T>;
Box(const char *) -> Box<std::string>;
explicit Box(char) -> Box<int>;
template <class T> constexpr T pi = T(3.1415926535L);
template <> constexpr int pi<int> = 3;
template <class T> inline constexpr bool is_small_v = sizeof(T) < 4;
template <class T> using Vec = std::vector<T, Alloc<T>>;
template <class T> concept Small = sizeof(T) < 8 && requires(T t) { t.x; { t.y } -> std::same_as<int>; };
template <typename T> concept Always = true;
template <class T> requires Small<T> void constrained(T t);
template <class T> requires (sizeof(T) > 1) && Small<T> || std::integral<T> int constrained2(T t) { return 1; }
template <class T> requires requires (T t) { t.foo(); typename T::bar; } struct Required { T t; };
template <Small T> void abbreviated_constraint(T t) { }
void abbreviated(Small auto a, std::integral auto... rest) { }
template <class T> void trailing_requires(T t) requires Small<T> && (!std::integral<T>) { }
template <class T> auto trailing_both(T t) -> T requires requires { t.x; };
Small auto constrained_variable = 3;
Small auto constrained_return();
template <class T> struct Rebind { template <class U> struct other { using type = Box<U>; }; };
template <class T> typename Rebind<T>::template other<int>::type dependent(T t) { }
template <auto V, auto... Vs> struct Values { };
template <class T = int, class U = T>
struct
Defaulted
{ T t; };
template <class T> struct Crtp : Base<Crtp<T>>, Other<(1 > 0)> { void crtp(); };
template <typename T> void Crtp<T>::crtp() { if (a < b) { } }
template <size_t... I> void sequence(std::index_sequence<I...>) { (f<I>(), ...); }
template <class T> struct alignas(T) Storage { unsigned char data[sizeof(T)]; };
auto generic = []<class T>(T t) requires Small<T> { return t; };
template <int A, int B> using Less = std::bool_constant<(A < B)>;
template <class T> int shift_template(T t = T{1} << 2 >> 1) { return 1; }
template <int N = 1 << 4> struct ShiftDefault { int s; };
template <class T> union MaybeT { T t; char none; };
template <class T> struct std::hash<Box<T>> { size_t operator()(const Box<T> &b) const noexcept { return 0; } };
template <class T> enum class Outer<T>::Kind : int { First, Second };
