/* In C the words of C++ are names. */
int class = 1;
struct private { int public, protected; };
struct template { struct template *template; int this; };
void *new(int delete) { return 0; }
void delete(void *new) { }
int operator;
int operator_table[3];
struct class_info *class_of(struct class *class) { return 0; }
int namespace(int using) { return using; }
typedef int virtual;
virtual friend(void) { return 0; }
enum bool_like { false_, true_ } bool_value;
static int requires, concept, export;
int module, import = 2;
module_t module_init(import_t import);
int try(void) { return 1; }
int catch(int throw) { return throw; }
int typename, explicit, mutable;
struct signals { int slots : 3, signals : 2; };
int constexpr_like, final, override;
int record, var, async, get, set, type, of;
static const struct {
    const char *name;
    int code;
} keyword_table[] = {
    { "class", 1 }, { "struct {", 2 },
};
constexpr int c23 = 3;
auto deduced = 4;
bool has_bool = true;
[[maybe_unused]] static int c23_attribute(void) { return nullptr != 0; }
typeof_unqual(int) unqualified;
_BitInt(7) seven_bits;
int noexcept(void) { return 1; }
int last_word(void) { return 2; }
