// A licence: class Fake { int no; }
#region using "don't { look
using System;
using System.Collections.Generic;
using static System.Math;
using Grid = System.Collections.Generic.Dictionary<string, System.Collections.Generic.List<int[]>>;
using Point = (int X, int Y);
using unsafe Raw = int*;
global using Ids = System.Collections.Generic.HashSet<System.Guid>;
extern alias Legacy;
#endregion

[assembly: System.Reflection.AssemblyTitle("} class Wrong {")]
[module: System.CLSCompliant(false)]

namespace Acme.Nasty
{
    using Inner = Acme.Nasty.Deep.Leaf;

    /// <summary>
    /// Class Doc { void NotHere() {} }
    /// </summary>
    [Serializable, Obsolete("} {", false)]
    [AttributeUsage(AttributeTargets.Class | AttributeTargets.Struct)]
    public abstract partial class Nasty<TKey, TValue> : Base<TKey, List<TValue>>, IComparable<Nasty<TKey, TValue>>
        where TKey : class, IComparable<TKey>, new()
        where TValue : struct
    {
        private const string Braces = "} class Wrong { void No() {} \" \\", Verbatim = @"C:\{""quoted""}\";
        static readonly char Open = '{', Quote = '\'', Back = '\\', Double = '"', Uni = '\u007b'; // '{' and "
        int a = 1, b = F(1, 2), c;
        bool less = 1 < 2, more = 3 > (2);
        Dictionary<string, Dictionary<int, List<string>>> nested = new Dictionary<string, Dictionary<int, List<string>>>(), other;
        string raw = """
            class InRaw { int x; }
            "quotes" ""twice"" }}}
            """, afterRaw = "x";
        string raw4 = """"has """ in it { """", one = """single "line" {""";
        string inter = $"a {Name("}")} {{literal}} {(b > c ? $"in {a,5:0.0} {{" : "else")} {new { X = "}" }.X}", afterInter = "";
        string interVerb = $@"C:\{Name("x")}\""{{"" {a:N2}", interVerb2 = @$"x{(a)}""";
        string interRaw = $"""
            {{{Name("}")}}} and "quotes" {a}
            public class NotHere { }
            """, interRaw2 = $$"""{"json": {{Name("{")}}, "x": {{{a}}} }""", lastRaw = $$$"""{{ {{{b}}} }}""";
        Func<int, Func<int, int>> curried = x => y => { int local = x < y ? x : y; return local; }, identity = null;
        Action<string> @delegate = delegate(string s) { Console.WriteLine(s + "}"); };
        object anonymous = new { A = 1, B = new { C = "}" } }, list = new List<int> { 1, 2, { 3 } };
        int[] array = { 1, 2 }, array2 = new[] { 3 }; int[,] grid; int[][,] jagged = new int[2][,];
        int choice = Environment.ProcessorCount switch { < 2 => 1, > 4 and < 8 => 2, { } => 3 }, next = 0;
        (int Count, string? Name) tuple = (1, "("); (int, (string, bool[])?)[] tuples = default, more2;
        int? maybe = null; string?[]? names; List<(int A, Dictionary<string, int?> B)>? complex = new();
        internal protected volatile int flags; public new static readonly object Sync = new object();
        int[] collection = [1, 2, .. new[] { 3 }], spread = [];
        byte[] utf8 = "}"u8.ToArray(); decimal money = 1_000.50m; long hex = 0xFF_FFL, range = 1;

        static Nasty() { Sync = new(); }
        public Nasty() : this(new[] { 1, 2 }, x => { return x; }) { }
        protected internal Nasty(int[] xs, Func<int, int> f) : base("}{") => a = xs.Length;
        ~Nasty() { Console.WriteLine("}"); }

        static int F(int x, int y) { return x > y ? x : y; } int G() => 0;
        public abstract Task<Dictionary<TKey, List<T2>>> Generic<T1, T2>(
            [NotNull("(")] in T1 a, // a comment with ) and {
            ref T2[] b, out int c,
            params object?[] rest
        ) where T1 : notnull, IEnumerable<T2> where T2 : unmanaged;
        [DllImport("user32.dll", EntryPoint = "{")] private static extern unsafe int Native(void* p, delegate* unmanaged[Cdecl]<int, void> f);
        public async Task<int> Async() { await Task.Yield(); int Local(int x) { return x; } return Local(1); }
        public override string ToString() => $"{a} {{ {b}";
        public (int A, string B) Tuple() => (1, "");
        (int, (int, int)) NestedTuple((int x, int y) p) { return (1, p); }
        ref readonly int RefReturn() => ref array[0];
        public static ref (int, int) RefTuple(ref (int, int) t) => ref t;
        partial void OnChanged(string name);
        partial void OnChanged(string name) { if (name is "}") return; }
        int Default(string s = "){", char c = ')', int[]? x = null, CancellationToken t = default) { return 1; }
        unsafe fixed byte buffer[16 * (2 + 1)], tail[4];
        unsafe int* pointer, pointer2; unsafe delegate*<int, string, void> fp; delegate* managed<ref int, int> fp2;
        [return: MaybeNull] [method: Obsolete("]")] T Attributed<T>() => default;
        [field: NonSerialized] public event EventHandler<List<int>> Changed;
        public event Action First, Second = delegate { }, Third;
        public event EventHandler Accessors { add { lock (Sync) { } } remove => Console.WriteLine("}"); }
        event Action INotify.Raised { add { } remove { } }
        int größe, имя, _x1, @class; void @event() { }
        public int CompareTo(Nasty<TKey, TValue>? o) => throw new NotImplementedException("}");
        global::System.Collections.Generic.List<global::System.Int32> global2;
        ;
    }

    namespace Deep.Er { class Leaf2 { } namespace Est { enum E { One } } }
    namespace Deep
    {
        internal sealed class Leaf { int x; class In { class Most { void Method() { } } } }
    }
}

class NoNamespace { }
