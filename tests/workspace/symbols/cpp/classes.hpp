#pragma once
#define CLASSES_EXPORT __attribute__((visibility("default")))
class Forward;
struct AlsoForward;
template <typename T> class ForwardTemplate;
enum class ForwardEnum : int;
class CLASSES_EXPORT ForwardExported;
class ns_like::Nested;

/// Documented.
class Empty {};
class CLASSES_EXPORT Exported { int e; };
class CLASSES_EXPORT_AS(name, "{") ExportedAs { int e; };
class alignas(16) Aligned { };
class [[nodiscard("a { b")]] Attributed final { };
struct alignas(sizeof(int) > 2 ? 8 : 4) [[maybe_unused]] Both { };

class Base {
public:
    Base() = default;
    Base(const Base &) = delete;
    Base(Base &&) noexcept;
    explicit Base(int a, std::string s = "}") : a_(a), s_{std::move(s)} { }
    explicit(sizeof(int) > 2) Base(double);
    virtual ~Base();
    virtual void pure() = 0;
    virtual int with_body() const { return a_ < 3 ? 1 : 2; }
    static int count() noexcept(sizeof(int) == 4);
    auto trailing() const -> std::vector<int>;
    auto trailing_body() && -> decltype(a_ + 1) { return a_; }
    void ref() &; void ref() const &; void rref() &&;
    [[nodiscard]] constexpr bool attributed() const { return true; }
    int *pointer(), &reference(), plain();
    void defaults(int a = {}, std::vector<int> v = {1, 2}, int (*f)(int) = [](int x) { return x; }, bool b = 1 < 2);
    void defaults2(bool b = (1 > 2), std::map<int, std::vector<int>> m = std::map<int, std::vector<int>>{}) { }
    std::map<std::string, std::vector<std::pair<int, int>>> nested_templates(std::function<void(int)> f);
    template <class U> void member_template(U &&u) { }
    template <class U, int N = (3 > 2)> static auto static_template(U u) -> U;
    int (*returns_fp(int))(char);
    void volatile_one() volatile;
    void throwing() throw(std::bad_alloc);
    consteval int immediate() { return 1; }
protected:
    int a_, b_ = 3, *c_ = nullptr, d_[3] = {1, 2, 3}, e_{5};
    std::string s_{"{"};
    static inline const std::vector<std::string> kNames = {"a", "b}", "c"};
    static constexpr int kMax = 1 << 4, kMin = -1;
    mutable std::mutex mutex_;
    unsigned bits_ : 3, : 2, more_ : 1 {1}, : 0;
    std::function<int(int)> callback_ = [this](int x) { return x + a_; };
    int (Base::*member_pointer_)(int) const = nullptr;
    int Base::*data_pointer_;
    void (*fp_)(int), (*fps_[2])();
    std::array<int, (4 > 3 ? 2 : 1)> sized_;
    struct Forward *forward_;
    class Forward *forward2_;
    ::std::string absolute_;
    unsigned long long big_ = 1'000'000ull;
    bool less_ = 1 < 2, greater_ = 2 > 1;
private:
    class Impl;
    std::unique_ptr<Impl> impl_;
    struct Inner {
        int x;
        struct Deeper { enum { A, B }; int y; } deeper;
        Inner(int x) : x(x) {}
        ~Inner() { }
    } inner_, *inner_pointer_;
    enum State { Idle, Busy = 1 << 2, Done, } state_ = Idle;
    enum class Color : std::uint8_t { Red, Green = f<1, 2>(), Blue [[deprecated]] = 3 };
    union { int i_; float f_; };
    union Value { int i; Value() : i(0) { } } value_;
    using Ptr = std::shared_ptr<Base>;
    typedef std::vector<int> Vec, *VecPtr;
    typedef void (Base::*Method)(int);
    using Fn = void (*)(int);
    template <class T> using Map = std::map<std::string, T>;
    using Other::Other;
    using Other::method;
    using enum Color;
    friend class Forward;
    friend Base make(int);
    friend std::ostream &operator<<(std::ostream &, const Base &);
    friend void friend_defined(Base &b) { b.pure(); }
    friend bool operator==(const Base &a, const Base &b) { return true; }
    template <class U> friend class ForwardTemplate;
    static_assert(sizeof(int) == 4, "{");
};

class Derived final : public virtual Base, private std::vector<std::pair<int, char>>, Mixin<Derived> {
    using Base::Base;
    Derived() : Base{1}, std::vector<std::pair<int, char>>(), m{[] { return 1; }()}, n({1, 2}) { }
    Derived(int x)
        : Base(x)
        , m(x)
    try {
    } catch (...) {
    } catch (int) { }
    void pure() override final;
    int with_body() const noexcept override { return 1; }
    ~Derived() override;
    int m, n;
};
struct Aggregate { int a = 1; int b{2}; int c[2]{1, 2}; } aggregate{1}, *aggregate_pointer;
struct : Base { int member; } anonymous_derived;
class Outer::Nested : public Base { int q; };
typedef struct { int t; void method() { } } TypedefStruct;
struct Bar { struct Bar *next; Bar *(*make)(struct Bar); } ;
