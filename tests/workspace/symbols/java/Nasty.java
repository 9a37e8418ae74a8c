/* A licence with class Fake { int no; } and "quotes' */
package com . acme . nasty;

import java.util.*;
import java.util.function.*;
import static java.util.Map.Entry;

/**
 * Class Doc { void notHere(); }
 */
@SuppressWarnings({"unchecked", "}{", "class X {"})
public abstract class Nasty<T extends Comparable<? super T>, K extends Map<String, List<Map<K, int[]>>>> extends Base<T>
        implements Serializable2, Comparable<Nasty<T, K>> {

    private static final String BRACES = "} class Wrong { void no() {} \" \\";
    static final char OPEN = '{', QUOTE = '\'', BACK = '\\', DOUBLE = '"'; // '{' and "
    int a[], b = f(1, 2), c;
    protected volatile transient long[] d = {1, 2, 3}, e[] = {{4}, {5}};
    boolean less = 1 < 2, more = 3 > (2);
    Map<String, Map<Integer, List<String>>> nested = new HashMap<String, Map<Integer, List<String>>>(), other;
    String text = """
            class InText { int x; }
            "quotes" and \""" escaped }}}
            /* no comment */ // none
            """, afterText = "x";
    Runnable lambda = () -> { int local = 1; class Local { void hidden() { } } };
    final Comparator<String> anonymous = new Comparator<String>() {
        private int hiddenField = 1;
        @Override public int compare(String x, String y) { return hidden(x) - hidden(y); }
        int hidden(String s) { return s.length(); }
    };
    Function<Integer, Function<Integer, Integer>> curried = x -> y -> x < y ? x : y, identity = null;
    int choice = switch (OPEN) { case '{' -> { yield 1; } case '}' -> 2; default -> 3; };
    Object cast = (Map<String, Integer> & java.io.Serializable) null;
    Supplier<List<String>> ref = ArrayList<String>::new;

    static {
        int inStatic = 1;
        Runnable r = new Runnable() { public void run() { } };
    }

    {
        text = "instance initialiser";
    }

    public Nasty() throws IllegalStateException, java.io.IOException { super(); }
    protected <Q> Nasty(Q q, int... rest) throws java.io.IOException {
        this();
    }
    @Deprecated Nasty(String s) throws java.io.IOException { this(); if (s.equals("}")) { return; } }

    static int f(int x, int y) { return x > y ? x : y; } int g() { return 0; }
    public abstract <A, B extends Comparable<A>> Map<A, List<? super B>> generic(
        final @Note("(") A a, // a comment with ) and {
        List<? extends B>... bs
    ) throws RuntimeException;
    native int nativeOne();
    public synchronized final strictfp double mixed(double d) { return d; }
    int dims(int x[])[] { return new int[] {x[0]}; }
    void receiver(Nasty<T, K> this, int x) { }
    java.util.Map.Entry<String, int[][]> qualifiedReturn() { return null; }
    @Override
    // a comment between
    @Note(value = "x", names = {"a", "}"}, nested = @Inner(1))
    public
    String
    toString
    ()
    {
        return "";
    }
    public int compareTo(Nasty<T, K> o) { return 0; }
    void record() { int record = 1; record++; }
    void var(int permits) { }
    int record, sealed = 2, permits, yield, var, module, open, with, when;
    void $dollar$() { } int _under_1, $, größe, имя;
    ;;

    @interface Note { String value(); String[] names() default {"{", "}"}; Inner nested() default @Inner(0); }
    public static @interface Inner {
        int value() default 1 << 2;
        Class<? extends Number>[] types() default {};
        int CONSTANT = 5;
        enum Level { LOW, HIGH }
    }
    static class Deep { class Deeper { static class Deepest { int core; Deepest(int c) { core = c; } } Deeper() { } } }
    private class Inner2<X> { X x; <Y> Y convert(X from, Function<? super X, ? extends Y> by) { return by.apply(from); } }
}

interface Serializable2 { }
abstract class Base<T> { Base() throws java.io.IOException { } }
