package unfinished;

/** What no scanner without a parser's patience reads: braces written as escapes, or not yet. */
public class Unfinished {
    static class Escaped \u007b int inEscaped; \u007d
    int before;
    public void missesItsBrace() {
        if (before > 0) {
            before--;

    public void hidden() { }
    private int alsoHidden;
}
