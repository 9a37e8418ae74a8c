namespace Half;
public class HalfFinished
{
    private int before = 1;
    private int noSemicolon = 2
    public void Method() { int x = ; if (x { } }
    private List<string
    private List<string> list = new();
    public
    protected void AfterPublic() { }
    int open = Foo(1, ;
    public void AfterOpen(int a, { }
    private static class Inner { void In() { Call(; } }
    public int Auto { get; set }
    public string Unterminated() { return $"open {Auto; }
    }
    <<<<<<< HEAD
    public int Merged() { return 1; }
    =======
    public int Merged() { return 2; }
    >>>>>>> theirs
    public event
    public int Arrow =>
    public int Tail() { return 0; }
