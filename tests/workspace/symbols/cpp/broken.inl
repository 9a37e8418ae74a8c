// Code under the cursor.
namespace half {
class Finished { int a; };
class Unfinished {
    void method(
    int b;
    void whole() { }
};
template <class T
void after_open_template() { }
void f() { if (x < 1 { } }
void g() { }
}
}
void outside() { }
class Tail :
{
    int in_tail;
    operator
};
int x = ;
int y = { ;
