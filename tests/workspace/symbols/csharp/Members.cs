#nullable enable
using System;

namespace Acme.Members.Deep;

using Alias = System.Text.StringBuilder;

public interface IShape<out T> : IDisposable where T : allows ref struct
{
    T Value { get; }
    int Width { get; set; } int Height { get; init; }
    string this[int index] { get; }
    event EventHandler Changed;
    void Draw(int x, int y = 0);
    void Default() { Draw(1); }
    static abstract T Zero { get; }
    static abstract T operator +(T a, T b);
    static virtual bool operator ==(T a, T b) => true;
    static abstract explicit operator int(T t);
    const int Max = 5;
    private static int Secret() => 1;
    interface INested { }
    record struct Size(int W, int H);
}

public class Properties(int seed, string name = "){") : Base(seed, x => { return x; }), IShape<int>
{
    public int Auto { get; set; }
    public int Initialised { get; private set; } = F(1, 2);
    public required string Required { get; init; } = "}";
    public static Dictionary<string, int> Map { get; } = new() { ["a"] = 1, ["}"] = 2 };
    public int Expression => seed > 1 ? seed : 2;
    public int Bodies { get { if (seed > 0) { return 1; } return 2; } private set { seed = value; } }
    public int Arrows { get => seed; set => seed = value; }
    public string Attributed { [Obsolete("}")] get; [param: NotNull] set; }
    public virtual List<(int, string)>? Complex
    {
        // a comment }
        get;
#if DEBUG
        set;
#else
        internal set;
#endif
    } = null;
    (int X, int Y) Tuple { get; set; } = (1, 2);
    int IShape<int>.Value => 1;
    int IShape<int>.Width { get; set; }
    void IDisposable.Dispose() { }
    void global::Acme.IThing<Dictionary<string, int>>.Do<T>(T t) { }
    string IShape<int>.this[int index] { get { return ""; } }
    public int this[int x, string y = "]"] { get => 1; set { } }
    public ref int this[Index i] => ref cells[i];
    public int async { get; set; } int get { get; set; } int value, set, add, where, when, yield, await2, nameof, var, dynamic, partial2;
    public int record { get; set; } string file = "", required = "", scoped; int init; object from = null, select = null;
    void remove() { } void on(int into) { } int partial() => 1; int global() { return 2; } void var2(int var) { }
    Lazy<int> lazy = new(() => { int hidden = 1; return hidden; });
    readonly int[] cells = new int[3] { 1, 2, 3 };
    Func<(int a, int b), bool> tupleFunc = p => p.a < p.b, genericCall = Create<int, string>(1), compare = null;
}

public readonly partial struct Money : IEquatable<Money>
{
    public readonly decimal Amount; public string Currency { get; }
    public Money(decimal amount, string currency) => (Amount, Currency) = (amount, currency);
    public static Money operator +(Money a, Money b) => new(a.Amount + b.Amount, a.Currency);
    public static Money operator checked +(Money a, Money b) => a;
    public static Money operator -(Money a) { return a; }
    public static bool operator <(Money a, Money b) { return a.Amount < b.Amount; }
    public static bool operator >(Money a, Money b) { return a.Amount > b.Amount; }
    public static bool operator <=(Money a, Money b) => true; public static bool operator >=(Money a, Money b) => true;
    public static bool operator ==(Money a, Money b) => a.Equals(b); public static bool operator != (Money a, Money b) => !(a == b);
    public static Money operator ++(Money a) => a; public static Money operator >>(Money a, int n) => a; public static Money operator >>>(Money a, int n) => a;
    public static Money operator ~(Money a) => a; public static bool operator !(Money a) => false; public static Money operator %(Money a, Money b) => a;
    public static bool operator true(Money a) => true; public static bool operator false(Money a) => false;
    public static implicit operator decimal(Money m) => m.Amount;
    public static explicit operator List<int>(Money m) { return new List<int> { 1 }; }
    public bool Equals(Money other) => Amount == other.Amount;
    public override int GetHashCode() { return HashCode.Combine(Amount, Currency, "}"); }
    public unsafe struct Buffer { public fixed char Text[8]; }
    readonly ref struct View { readonly Span<int> span; public View(Span<int> s) { span = s; } public readonly int Length => span.Length; }
}

public abstract record Person(string First, [property: JsonName("}")] string Last, int Age = 1 << 2)
{
    public string Full => $"{First} {Last}";
    protected Person(string only) : this(only, "", 0) { }
    public virtual bool PrintMembers(StringBuilder b) { return true; }
}
public sealed record Student(string First, string Last, List<(int Id, string)> Courses) : Person(First, Last), IComparable<Student>;
public record Empty; record Empty2(); record class Explicit(int X) { } record NoParameters { public int Y { get; init; } }
public readonly record struct Vector<T>(T X, T Y, params int[] Rest) where T : struct { public static readonly Vector<T> Zero = new(default, default); }
file class Hidden { } file interface IHidden { }
public struct Semi(int x); class Bodiless; interface IMarker;

[Flags]
public enum Rights : uint
{
    None = 0, Read = 1 << 0, [Obsolete("},")] Write = 1 << 1, // All = 9,
    /// <summary>Doc, with comma</summary>
    Execute = (1 << 2) + 'x' - '}', All = Read | Write |
        Execute,
    Computed = Bits<int, long>.Size, @new,
};
enum Single { Only } enum NoMembers { } enum WithTrailing : byte { A, B, };

public delegate void Handler(object sender, EventArgs e);
internal delegate TResult Func<in T, out TResult>(T arg, string s = "){") where T : class where TResult : new();
public delegate ref readonly (int, int) RefHandler(ref int x);
[UnmanagedFunctionPointer(CallingConvention.Cdecl)] unsafe delegate int* Callback(void* p, delegate*<int, void> f);

public static class Extensions
{
    public static bool IsEmpty<T>(this IEnumerable<T> xs) where T : notnull => !xs.Any();
    public static void Deconstruct(this Money m, out decimal a, out string c) { a = m.Amount; c = m.Currency; }
    public static async IAsyncEnumerable<int> Stream([EnumeratorCancellation] CancellationToken t = default) { yield return 1; }
    static string Query() => (from x in new[] { 1 } where x > 0 orderby x descending select $"{x}").First();
    delegate void Inside(); enum InsideToo { X } class InsideClass { }
    static readonly Regex Pattern = new(@"^(?<name>[""{]+)\{(\d+)$", RegexOptions.Compiled), Other = new("");
    static readonly string Sql = @"
        SELECT ""class Fake { }"" -- } 
        FROM t", Sql2 = "";
    [GeneratedRegex("[{]", RegexOptions.IgnoreCase)] private static partial Regex Braces();
    /* before */ static int /* mid */ Commented /* after */ () /* x */ { /* { */ return 1; /* } */ } // }
}
