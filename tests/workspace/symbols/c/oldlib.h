/* How libraries of the last century declare. */
#ifndef OLDLIB_H
#define OLDLIB_H 1
#ifdef STDC
#  define OF(args) args
#else
#  define OF(args) ()
#endif
int OLDEXPORT old_init OF((struct old_stream *strm, int level));
local void *old_alloc _P((void *opaque, unsigned items));
OLDAPI(int)
old_parse(struct old_parser *p, int len);
OLDAPI(const char *)
OLD_UpperCase(void);
Old_DATA(struct old_type) Old_Type;
Old_DATA(const unsigned int) old_table[256];
Old_FUNC(void) OLD_NO_RETURN old_exit(int);
OLD_DEPRECATED(3.11) Old_FUNC(void) old_set_path(const wchar_t *);
static void OLD_NORETURN OLD_PRINTF(1,2)
old_die(const char *format, ...)
{
    exit('}');
}
union old_wide {
    unsigned long long value;
    struct { unsigned low; unsigned high; } __parts;
} ;
struct __align__(8) old_aligned { int a; };
typedef struct OLD_ALIGN(4) { short x; } old_anonymous;
struct old_suffixed OLD_PACKED(4) { int s; };
extern int (*old_hook) OF((int, char **));
#define OLD_LIST(name, type) struct name { \
    type *head; \
}
OLD_LIST(old_list, int);
int old_after_list;
void old_long(int a,
              char b /* ) */, // )
              struct old_stream *(*c)(int));
#endif
