template <class It, class Fn> inline Fn each(It b, It e, Fn f) { for (; b != e; ++b) { f(*b); } return f; }
namespace detail { template <class T> struct trait { static const bool value = false; };
template <> struct trait<int> { static const bool value = true; typedef int type; };
template <class T> typename std::enable_if<trait<T>::value, T>::type pick(T t) { return t; }
template <class T> typename std::enable_if<!trait<T>::value>::type
pick(T t)
{ } }
#define DETAIL_STEP(n) template <> struct step<n> { enum { value = n }; }
DETAIL_STEP(1); DETAIL_STEP(2);
struct Fields {
    // not above

    // right above b
    int a, // of a
        b; /* of b */
    bool operator!() const { return !a; } bool c : 1;
    int d = [] { int inner = 1; return inner; }(), e = Call<int, 2>(3), f = (1, 2);
    std::string s = "a" "b{" R"(c})";
    int g { 1 }, h { };
    Fields() : a{1}, b{}, d(0), s{"}"} {} int after;
    Fields(std::initializer_list<int> l) : a(*l.begin()) {};
    Fields &self() & { return *this; } Fields &&self() && { return std::move(*this); }
    struct { int p, q; } array_[3], *pointer_;
    enum { kA = 1, kB };
    enum : int { kC };
    static int table[][2];
    decltype(a) same;
    typename T::type dependent;
    T::Inner shorter;
    const T &(*ref_fn)(T const &);
    template <int N> friend struct step;
    template <class U> friend void swap(Fields &a, U &b) { }
    friend Fields operator+(Fields a, Fields b) { return a; }
    union { struct { char lo, hi; } parts; short whole; } word;
};
int Fields::table[][2] = {{1, 2}, {3, 4}};
