package crlf.endings;

/* doc */
class Crlf {
	int one = 1; // {
	String s = "\"}";

	void two() {
		int x = 0; }
	String t = """
		class X {
		""", u;
	interface Three { int four(); }
}
class NoNewlineAtEnd { int last; }