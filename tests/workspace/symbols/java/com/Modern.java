package com.acme.modern;
// Java 21: patterns for records, guards, unnamed things
public class Modern {
    sealed interface Expr permits Num, Add, Neg { }
    record Num(int value) implements Expr { }
    record Add(Expr left, Expr right) implements Expr { }
    record Neg(Expr inner) implements Expr { }
    static int eval(Expr e) {
        return switch (e) {
            case Num(var v) when v > 0 -> v;
            case Num n -> n.value();
            case Add(Num(int l), Num(int r)) -> { yield l + r; }
            case Add(Expr l, Expr r) -> eval(l) + eval(r);
            case Neg(var inner) -> -eval(inner);
        };
    }
    String kind = switch (this) { case null -> "null"; case Modern m when m.depth < 3 && m.depth > 1 -> "{"; default -> "}"; }, after = "x";
    int depth = this instanceof Modern m && m.depth > 0 ? 1 : 0, next;
    java.util.List<int[]> arrays = java.util.List.<int[]>of(new int[] {1, 2}, new int[0]), none = null;
    java.util.Map<String, java.util.function.Function<Integer, String>> handlers = new java.util.HashMap<>() {{
        put("a", n -> { return "b"; });
        put("}", String::valueOf);
    }};
    boolean whole = 1 < 2 && 3 > 2, half = !whole;
    <T extends Exception & Runnable> void bounds(T t) throws T { }
    public <T> Modern(T t) { }
    public static void main(String[] args) throws Exception { new Modern(1) { void anon() { } }.run(); }
    void run() { }
    @FunctionalInterface interface TriFunction<A, B, C, R> { R apply(A a, B b, C c); static <X> TriFunction<X, X, X, X> first() { return (a, b, c) -> a; } }
    static abstract class Lazy<T> implements java.util.function.Supplier<T> {
        private volatile T value; private boolean done;
        protected abstract T compute();
        @Override public final T get() { if (!done) synchronized (this) { value = compute(); done = true; } return value; }
    }
    String json = """
        {"class": "Fake", "list": [1, 2, {"x": "\\"}]}
        """ + """
        public void notAMethod() {
        """, plain = "";
    static final int A = 1,
        B = A << 2 | 3,
        C = (B > A) ? B : A, D = Math.max(A, Math.min(B, C));
}
