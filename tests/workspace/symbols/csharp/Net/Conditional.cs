#define FAST
#if !NET8_0_OR_GREATER
#error this } is "not" for 'you
#endif
namespace Net
{
    #region Types { "
    public
#if FAST
    sealed
#endif
    class Conditional
#if NET6_0
        : IOne
#else
        : ITwo
#endif
    {
#if FAST
        public int Speed() {
#else
        public long Speed() {
#endif
            return 1;
        }

#if WINDOWS
        void Windows() { }
        int handle;
#elif LINUX
        void Linux() { }
        int descriptor;
#else
        void Other() { }
#endif

#if false
        This isn't code at all: } } { "
        void Never() {
#endif
        void Always() { }

        void Body()
        {
#if A
            if (x) {
#elif B
            while (x) {
    #if NESTED
                for (;;) {
                }
    #endif
#else
            {
#endif
                Call("#endif");
            }
        }
        string text = @"
#if NOT_A_DIRECTIVE {
        ";
        # pragma warning disable 1591 // "
        int afterText;
        void Args(int a,
#if X
            int b)
#else
            string c)
#endif
        { }
#if PART
    }
    class Second
    {
#endif
        int inSecond;
    }
    #endregion
#if NET6_0
    interface ITrailing { void M(); }
#endif // NET6_0
#line 200 "foo{.cs"
    delegate void D();
}
