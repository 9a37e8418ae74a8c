// What no scanner without a parser's patience reads: braces that are not there yet, or only in one of two worlds.
namespace Unfinished
{
    public class Unfinished
    {
        int before;
#if NETFRAMEWORK
        public void Old(int x) {
#else
        public void New(long x) {
#endif
        }
        public void MissesItsBrace()
        {
            if (before > 0) {
                before--;

        public void Hidden() { }
        private int alsoHidden;
    }
}
