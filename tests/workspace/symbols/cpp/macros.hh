#define Q_OBJECT public: virtual void meta(); private:
class Widget : public QWidget {
    Q_OBJECT
    Q_PROPERTY(int size READ size WRITE setSize)
    Q_PROPERTY(QString name MEMBER m_name)
    Q_DISABLE_COPY(Widget)
    DECLARE_THING(Widget);
public:
    explicit Widget(QWidget *parent = nullptr);
    ~Widget() Q_DECL_OVERRIDE;
    Q_INVOKABLE int size() const { return m_size; }
    Q_ENUM(Mode)
    enum Mode { ModeA, ModeB };
signals:
    void changed(int);
Q_SIGNALS:
    void moved();
public slots:
    void setSize(int s);
private Q_SLOTS:
    void onClicked() { emit changed(1); }
    MACRO_BEFORE(x, "}") void after_macro();
    MACRO_A(1)
    MACRO_B(2)
    int after_two;
    FOO(Bar)
    Widget(int a, int b) : m_size(a) { }
    FOO(Bar)
    static constexpr int kStatic = 1;
    FOO(Bar)
    std::string qualified() const;
    FOO(Bar)
    ~Widget(int);
    BOOST_FOREACH_LIKE(int x, y) { f(x); }
    WORD_MACRO
    int after_word;
    WIDGET_DEPRECATED virtual void deprecated() { }
    WIDGET_DEPRECATED("use }") void deprecated_with(int) const;
    void const_macro() const WIDGET_NOEXCEPT;
    void override_macro(int) WIDGET_OVERRIDE { }
    WidgetPrivate *d_ptr, *const q_ptr = nullptr;
    int m_size WIDGET_GUARDED_BY(m_mutex);
    QString m_name;
    Q_DECLARE_PRIVATE(Widget)
};
Q_DECLARE_METATYPE(Widget)
Q_DECLARE_METATYPE(Widget *);
TEST(Suite, Name) {
    EXPECT_EQ(1, 2);
}
TEST_F(Fixture, Other) { int not_told = 1; }
BOOST_AUTO_TEST_CASE(some_case)
{
}
int after_tests() { return 1; }
BEGIN_NAMESPACE
int in_macro_namespace;
END_NAMESPACE
class Tail { int t; };
PYBIND11_MODULE(example, m) { m.def("f", [](int a) { return a; }); }
WIDGET_API(void) api_call(int a, int b);
WIDGET_API int api_plain();
WIDGET_API extern const char *const api_strings[];
struct WIDGET_API ApiStruct : public Base<int> { int x; };
class __declspec(dllexport) Declspec { public: int y; };
enum WIDGET_API ApiEnum { ApiA, ApiB };
#define REGISTER(name) \
    struct name##Registrar { \
        name##Registrar() { add(#name); } \
    } name##_instance
REGISTER(thing);
#ifdef HAS_EXTRA
class Extra : public Widget {
#else
class Extra {
#endif
public:
    Extra();
#if defined(_MSC_VER)
    void msvc() {
#else
    void other() {
#endif
    }
};
#if 0
class NotThere { don't };
#endif
