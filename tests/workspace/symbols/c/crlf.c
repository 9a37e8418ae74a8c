#define BOM_FIRST 1
int crlf_function(int a,
    int b)
{
	return a; /* } */
}
#define CRLF_MACRO(a) \
    do { \
    } while (a)

struct crlf {
	int member;
	char *text; // continued \
	int comment;
};
char *spliced = "a\
{ b";
int crlf_last(void) { return 1; }
int after_feed(void) { return 2; }
int no_newline_at_end;