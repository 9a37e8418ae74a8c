package half;
import java.util.List

public class HalfFinished {
    private int before = 1;
    private int noSemicolon = 2
    public void method() { int x = ; if (x { } }
    private List<String
    private List<String> list = new ArrayList<>();
    public
    protected void afterPublic() { }
    int open = foo(1, ;
    public void afterOpen(int a, { }
    private static class Inner { void in() { call(; } }
    @Override
    public String toString() { return "unterminated; }
    }
    <<<<<<< HEAD
    public int merged() { return 1; }
    =======
    public int merged() { return 2; }
    >>>>>>> theirs
    char c = 'ab
    public int tail() { return 0; }
