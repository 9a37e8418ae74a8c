package shapes;

public sealed interface Shapes permits Shapes.Circle, Shapes.Square, Shapes.Free {
    double PI2 = Math.PI * 2, TAU = PI2;
    double area();
    default double twice() { return area() * 2; }
    static Shapes unit() { return new Circle(1); }
    private void secret() { }
    private static <T> T id(T t) { return t; }

    record Circle(double radius) implements Shapes {
        static int count = 0;
        public Circle {
            if (radius < 0) { throw new IllegalArgumentException("{"); }
            count++;
        }
        Circle(int whole) { this((double) whole); }
        @Override public double area() { return Math.PI * radius * radius; }
    }

    record Square(double side) implements Shapes { public double area() { return side * side; } }

    non-sealed interface Free extends Shapes {
        non-sealed class Blob implements Open2 { public double area() { return 0; } }
        sealed interface Open2 extends Shapes.Free permits Blob { }
    }
    /** A pair. */
    record Pair<A extends Comparable<A>, B>(@Tag("(") A first, java.util.Map<String, ? extends B>... second) { }
    record Empty() { }
    record Wide(
        int x, // the x
        /* the y */ int[] y,
        @Tag({"a", "b,"})
        String z
    ) {
        public Wide(int x, int[] y, String z) { this.x = x; this.y = y; this.z = z; }
        public static Wide of() { record Local(int no) { } return null; }
    }
    @interface Tag { String[] value(); }
}

final class Uses<E extends Enum<E> & Comparable<E>> {
    E e; E[] es; Uses<E>.Inner in; int i = (2 < 3) ? 4 : 5;
    class Inner { Inner(Uses<E> Uses.this) { } }
    private final Uses<E> self = this; @SafeVarargs public final <T> void all(T... ts) { }
    String s = "a" + (char) 65 + '}' + "/*", t = "*/ //";
    int/*one*/x/*two*/=/*three*/1/*four*/,/*five*/y;
    Object o = new Object() { int in = 1; { in = 2; } class In { } }, p = new int[][] {{1}, {2, 3}};
    long big = 0xFFFF_FFFFL, exp = (long) 1e-5, shift = big >>> 3 >> 2 << 1;
    java.util.function.BiFunction<Integer, Integer, Integer> add = (a, b) -> a + b, sub = (Integer a, Integer b) -> { return a - b; };
    java.util.function.IntPredicate neg = n -> n < 0, pos = n -> n > 0;
}
