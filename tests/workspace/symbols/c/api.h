#pragma once
/* What libraries put around their declarations. */
#if defined(_WIN32)
#  define MY_API __declspec(dllexport)
#else
#  define MY_API __attribute__((visibility("default")))
#endif
#define MY_EXPORT(type) MY_API type
#define MY_BEGIN extern "C" {

#ifdef __cplusplus
extern "C" {
#endif

MY_API int my_init(void);
MY_API const char *my_name(int id, const char *fallback);
MY_API extern int my_global;
MY_EXPORT(int) my_exported(void);
MY_EXPORT(const char *) my_exported_pointer(int a);
extern MY_API void my_extern(void (*cb)(void *data), void *data);
int my_deprecated(void) MY_DEPRECATED;
int my_deprecated_for(void) MY_DEPRECATED_FOR("other { thing");
MY_NODISCARD MY_API struct my_thing *my_thing_new(size_t n) MY_MALLOC MY_ALLOC_SIZE(1);
void MY_CALL my_called(int);
int MY_CALL my_defined(int a) { return a; }
typedef void (MY_CALL *my_callback)(int);
typedef struct my_thing my_thing;
struct MY_API my_visible { int v; };

/**
 * Documented.
 */
static inline int my_small(int x)
{
    return x > 0 ? x : -x;
}

struct my_ops {
    int  (*open) (struct my_thing *t, const char *path, int flags);
    int  (*close)(struct my_thing *);
    void *(*alloc)(size_t), (*release)(void *);
    my_callback notify;
    int (MY_CALL *windows)(void);
};
extern const struct my_ops my_default_ops;
extern "C" int my_single_linkage(void);
extern "C" { int my_inner_a(void); int my_inner_b; }
extern "C++" {
int my_inner_cpp(void);
}

#ifdef __cplusplus
} /* extern "C" */
#endif

#ifdef __cplusplus
namespace my {
class Thing {
public:
    explicit Thing(int n);
    ~Thing() { my_free(raw_); }
    int size() const noexcept;
private:
    my_thing *raw_ = nullptr;
};
inline int helper(Thing &t) { return t.size(); }
}
#endif
int after_everything(int class_like);
