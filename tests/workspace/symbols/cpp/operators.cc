struct Op {
    Op operator+(const Op &) const;
    Op operator-() const; Op operator - (const Op &);
    Op &operator++(); Op operator++(int);
    Op &operator--();
    Op operator*(Op) const; Op &operator*();
    Op operator/(Op), operator%(Op), operator^(Op);
    Op operator&(Op); Op *operator&();
    Op operator|(Op); Op operator~(); bool operator!() const;
    Op &operator=(const Op &) = default;
    Op &operator=(Op &&) noexcept { return *this; }
    bool operator<(const Op &) const { return a < b; }
    bool operator>(const Op &o) const { return o < *this; }
    Op &operator+=(int), &operator-=(int), &operator*=(int), &operator/=(int);
    Op &operator%=(int); Op &operator^=(int); Op &operator&=(int); Op &operator|=(int);
    Op operator<<(int); Op operator>>(int) { return *this; }
    Op &operator<<=(int); Op &operator>>=(int);
    bool operator==(const Op &) const = default; bool operator!=(const Op &) const;
    bool operator<=(const Op &) const; bool operator>=(const Op &) const;
    auto operator<=>(const Op &) const = default;
    bool operator&&(const Op &); bool operator||(const Op &) { return true; }
    Op operator,(Op); Op *operator->(); int operator->*(int Op::*);
    int operator()(int a, int b = {}) const;
    void operator()() { }
    template <class T> auto operator()(T &&t) -> T { return t; }
    int &operator[](size_t i); const int &operator[](size_t i) const { return d[i]; }
    void *operator new(size_t); void operator delete(void *) noexcept;
    void *operator new[](size_t n) { return 0; }
    void operator delete[](void *p) { }
    operator bool() const { return true; }
    explicit operator int() const;
    operator const char *() const;
    operator std::string() const;
    operator std::vector<int>() &&;
    template <class T> explicit operator T() const { return T{}; }
    operator unsigned long long();
    virtual explicit operator Op &() = 0;
    auto operator co_await() const noexcept;
    constexpr Op operator""_not_member();
    static void operator_like(); int operator_field;
    int d[3];
};
Op operator+(int, const Op &);
std::ostream &operator<<(std::ostream &os, const Op &op) { return os << "{" << op.d[0]; }
template <class T> std::ostream &operator<<(std::ostream &os, const std::vector<T> &v) { return os; }
inline bool operator<(const Op &a, const Op &b) { return &a < &b; }
bool operator>(int a, Op b) { return a > 1; }
long double operator""_km(long double v) { return v; }
std::string operator "" _str(const char *s, size_t n) { return {s, n}; }
template <char... Cs> constexpr int operator""_bin() { return 0; }
void *operator new(size_t n, int tag) { return 0; }
void operator delete[](void *p) noexcept { }
Op Op::operator+(const Op &o) const { return o; }
int Op::operator()(int a, int b) const { return a < b; }
int &Op::operator[](size_t i) { return d[i]; }
Op::operator int() const { return 1; }
Op::operator const char *() const { return "}"; }
Op *Op::operator->() { return this; }
void *Op::operator new(size_t n) { return ::operator new(n); }
bool Op::operator<=(const Op &o) const { return !(*this > o); }
namespace ns { struct N { bool operator==(const N &) const; }; bool operator!=(const N &, const N &); }
bool ns::N::operator==(const N &o) const { return this == &o; }
bool ns::operator!=(const N &a, const N &b) { return !(a == b); }
