// No package here: the unnamed one.
import java.util.function.*;

enum Planets implements IntBinaryOperator {
    MERCURY(3.303e+23, "one, two"),
    /** With a body. */
    VENUS(4.8, "{") {
        private int hidden = 1;
        @Override public int applyAsInt(int a, int b) { return a + b; }
        class HiddenToo { void x() { } }
    },
    @Deprecated EARTH(5.9, "}") { },
    MARS(6.4, new String[] {"a", "b"}[0]), PLUTO,;

    private final double mass;
    final String name2;
    Planets(double mass, String name2) { this.mass = mass; this.name2 = name2; }
    private Planets() { this(0, ""); }
    public int applyAsInt(int a, int b) { return a < b ? a : b; }
    static final int COUNT = values().length;

    enum Size { SMALL, LARGE { int f() { return 2; } }; int f() { return 1; } }
    enum None { }
    enum OnlyMembers { ; static int helper() { return 1; } }
    enum Trailing { A, B, }
    enum Op {
        PLUS("+", (a, b) -> a + b), MINUS("-", (a, b) -> { return a - b; }),
        LESS("<", (a, b) -> a < b ? 1 : 0), TIMES("*", Math::multiplyExact);
        Op(String sign, IntBinaryOperator f) { }
    }
}

class Accounts {
	private	int	tabbed	=	1;
    private int x
        , y
        = 3
        , z;
    protected static class Builder<B extends Builder<B>> {
        @SuppressWarnings("unchecked") B self() { return (B) this; }
        B with(String k, Object v) { return self(); }
        B with(String k) { return with(k, null); }
        B with() { return with("{"); }
    }
    interface Visitor<R> { R visit(Accounts a); default R visitAll(Accounts... as) { R r = null; for (Accounts a : as) { r = visit(a); } return r; } }
    <R> R accept(Visitor<R> v) { return v.visit(this); }
    void loops() { outer: for (int i = 0, j = 1; i < j; i++) { while (true) { break outer; } } do { } while (false); }
    void tries() throws Exception { try (var r = open()) { } catch (RuntimeException | Error e) { } finally { } }
    AutoCloseable open() { return () -> { }; }
    void locals() { enum E { A } interface I { void i(); } class C implements I { public void i() { } } }
    synchronized void sync() { synchronized (this) { } assert true : "}"; }
    static int[] @Ann2 [] annotatedDims() { return null; }
    @Ann2 int @Ann2 [] annotated = {}, more[] = {{}};
    java.util.@Ann2 List<@Ann2 String> typeUse;
    Outer2.Mid<String>.Leaf<Integer> leaf(Outer2.Mid<String>.Leaf<Integer> in) { return in; }
    /* before */ int /* mid */ commented /* after */ () /* x */ { /* { */ return 1; /* } */ } // }
    int unicode = '\u007b' + "\u007d".length();
    String octal = "\0\12\"", chars = "" + '\t' + '\0' + '\u0041' + '\377';
}

@java.lang.annotation.Target({java.lang.annotation.ElementType.TYPE_USE, java.lang.annotation.ElementType.FIELD})
@interface Ann2 { }

class Outer2 { static class Mid<T> { class Leaf<U> { T t; U u; } } static { } { } Outer2 next, prev = null; }
