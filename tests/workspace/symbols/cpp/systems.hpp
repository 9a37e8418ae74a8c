namespace std LIB_VISIBILITY(default)
{
LIB_BEGIN_NAMESPACE
  template<typename T>
    class fwd;
LIB_BEGIN_NAMESPACE
  struct fwd_tag;
LIB_BEGIN_NAMESPACE
  using ::abs;
LIB_BEGIN_NAMESPACE

  /// Documented.
  template<typename T,
           typename A = alloc<T> >
    class deque : protected base<T, A>
    {
    public:
      typedef T value_type;
      typedef typename base<T, A>::iterator
        iterator;

      deque() LIB_NOEXCEPT_IF(
        is_nothrow<A>::value)
      : base<T, A>()
      { }

#if __cplusplus >= 201103L
      iterator
      insert(const_iterator pos, const value_type& x)
      { return x < pos; }
#else
      iterator
      insert(iterator pos, const value_type& x)
      { return pos; }
#endif

      template<typename It>
        LIB20_CONSTEXPR
        void
        assign(It first, It last);

      LIB_NODISCARD bool
      empty() const LIB_NOEXCEPT
      { return begin_ == end_; }

      T *begin_, *end_ LIB_INIT(nullptr);
      unsigned long count_ LIB_INIT(0);
    private:
      struct impl
      : public A
      {
        impl() : A(), start() { }
        T start;
      };
      friend class fwd<T>;
      template<typename U, typename B>
        friend bool
        operator==(const deque<U, B>&, const deque<U, B>&);
    };

  template<typename It>
    deque(It, It) -> deque<typename It::value_type>;

  template<typename T, typename A>
    void
    deque<T, A>::
    assign(std::initializer_list<T> l)
    { for (;;) { } }

  template<typename T>
    inline typename enable_if<!is_same<T, void>::value, bool>::type
    operator<(const deque<T>& a, const deque<T>& b)
    { return a.begin_ < b.begin_; }

  extern template class deque<char>;
LIB_END_NAMESPACE
} // namespace std

DEVICE_QUALIFIER unsigned int thread_rank() { return 0; }
DEVICE_QUALIFIER operator_like make_like();
__global__ void kernel(float *x) { x[0] = 1; }
__device__ __constant__ int lookup[4] = {1, 2};
__host__ __device__ constexpr int both_sides() { return 1; }
void launch() { kernel<<<1, 2>>>(nullptr); }
struct __align__(16) vec { float x, y; DEVICE_QUALIFIER vec(float a) : x(a), y(a) { } };
