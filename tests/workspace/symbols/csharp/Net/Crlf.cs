using System;

namespace Crlf.Endings
{
	/// <summary>doc</summary>
	class Crlf
	{
		int one = 1; // {
#if A
		void A() {
#else
		void B() {
#endif
		}
		string s = $"{one}}}\"", t = @"
}";

		int Two { get; }
	}
}
enum NoNewlineAtEnd { Last }