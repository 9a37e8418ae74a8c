/* Half-finished code must not hide what is whole. */
int before(void) { return 1; }

int unfinished_call(int a
{
    foo(a;
    bar[1;
}

int after_unfinished(void) { return 2; }

struct missing_semicolon {
    int a;
}

int after_missing(void) { return 3; }

} /* a stray one */

int after_stray(void) { return 4; }

char *unclosed = "no end;
int after_string(void) { return 5; }
= = = ;
int ;
, ;
( ) ;
int after_noise(void) { return 6; }
#if UNFINISHED
int in_unfinished(void) { return 7; }
#else
int in_else(void) { return 8; }

void never_closed(int x)
{
    if (x) {
        while (1) {

static int restarted(void)
{
    return 9;
}
typedef struct { int half;
