// A comment with " and ' and { and /* in it
// A continued comment \
int not_code(void) { \
   still a comment
int real_one(void) { return 1; }
/* a block with // and "unclosed and { */ int after_block(void) { return 2; } /* } */
/* stars ***/ int after_stars; /**/ int after_empty; /***/
char quote_brace = '{', brace_quote = '}', apostrophe = '\'', dquote = '"';
char *url = "http://not.a/comment"; /* http://is.a/comment */
char *open_comment = "/*", *close_comment = "*/";
char *escapes = "\\", *more_escapes = "\\\"{\\\\", *end = "\"";
char *spliced = "abc\
{ def";
int from_octal = '\0', hexed = '\x7b', wide = L'\'', u16 = u'{', u32 = U'"';
/* int commented_out(void) { } */
//int commented_too(void) { }
int division = 6 / 2 / 1, /* int not_this = 1, */ times = 2 * 3;
int almost/**/, comment = 4 /2;
int pointer_division = 1 //* tricky *
    / 2;
static const char help[] =
    "usage: {\n"
    "  -x  do \"x\"; then }\n"
    "  -y  do 'y'\n";
void uses_strings(void)
{
    puts("}"); putchar('}'); puts("\"}"); /* } */ // }
    puts("multi \
} line");
}
int raw_like = sizeof R"x";
struct literal_defaults { char c; } ld = { '}' };
#define WITH_APOSTROPHE don't
#define WITH_QUOTE "unclosed
int survives_macros(void) { return 0; }
int line_comment_end(void) { return 1; } // no newline games \\
int after_double_backslash(void) { return 1; }
int digraphs(void) { return 0; } /* no trigraphs ??/ */
int semicolons(void) { for (;;) { ; } ; } ; ; ;
int 	tabbed	(	void	)	{	return 0;	}
int form_feed(void) { return 0; }

int vertical_tab(void) { return 0; }
