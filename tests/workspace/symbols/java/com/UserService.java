package com.acme.users;

import java.util.*;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.*;
import java.util.stream.Collectors;

/**
 * Manages users.
 * <pre>{@code
 *   class Example { void run() { } }
 * }</pre>
 */
@Service("users")
@Route(path = "/users/{id}", methods = {"GET", "POST"}, produces = @Media("application/{x}"))
public class UserService extends AbstractService<User, Long> implements Finder<User>, AutoCloseable {

    /** How many. */
    public static final int MAX_USERS = 10_000;

    private static final Map<String, BiFunction<UserService, Map<String, Object>, List<User>>> QUERIES = Map.of(
        "all", (service, args) -> service.users.values().stream().collect(Collectors.toList()),
        "by{name}", (service, args) -> { String name = (String) args.get("name"); return service.byName(name); }
    );

    @Inject private UserRepository repository;
    @Inject @Named("clock{}") protected java.time.Clock clock;
    private final ConcurrentHashMap<Long, User> users = new ConcurrentHashMap<>();
    private final ThreadLocal<StringBuilder> buffers = ThreadLocal.withInitial(() -> new StringBuilder("{").append(new char[] {1}));
    private volatile boolean closed;

    static { System.setProperty("users", "}"); }

    @Inject
    public UserService(UserRepository repository, @Named("clock") java.time.Clock clock) {
        this.repository = Objects.requireNonNull(repository, "repository {}");
        this.clock = clock;
    }

    UserService() { this(null, null); }

    @Override
    public Optional<User> find(Long id) {
        class Cache { User get() { return users.get(id); } }
        return Optional.ofNullable(new Cache().get()).filter(u -> u.age() < 150 && u.age() > 0);
    }

    /* Not a doc comment,
       but right above. */
    public Optional<User> find(String name) { return byName(name).stream().findFirst(); }

    @Transactional(readOnly = true, timeout = 5 * (2 + 1))
    protected List<User> byName(String name) {
        return users.values().stream().filter(new Predicate<User>() {
            @Override public boolean test(User user) { return user.name().equals(name); }
        }).collect(Collectors.<User>toList());
    }

    public <R extends Comparable<? super R>> SortedMap<R, Set<User>> groupBy(Function<? super User, ? extends R> key) {
        SortedMap<R, Set<User>> groups = new TreeMap<>();
        for (User user : users.values()) groups.computeIfAbsent(key.apply(user), ignored -> new HashSet<>()).add(user);
        return groups;
    }

    @Override public void close() { closed = true; }

    private int[][] matrix(int rows, int columns)[] { return new int[rows][columns][]; }

    /** Events. */
    public enum Event { CREATED, DELETED("gone") { @Override boolean isFinal() { return true; } };
        private final String label;
        Event() { this("{"); }
        Event(String label) { this.label = label; }
        boolean isFinal() { return false; }
    }

    @FunctionalInterface
    public interface Listener extends Consumer<Event> {
        Listener NONE = event -> { };
        @Override void accept(Event event);
        default Listener and(Listener other) { return e -> { accept(e); other.accept(e); }; }
    }

    public static final class Builder {
        private UserRepository repository; private java.time.Clock clock = java.time.Clock.systemUTC();
        public Builder repository(UserRepository repository) { this.repository = repository; return this; }
        public Builder clock(java.time.Clock clock) { this.clock = clock; return this; }
        public UserService build() { return new UserService(repository, clock); }
    }

    protected abstract static class Template<I, O> {
        abstract O run(I input) throws Exception;
        protected O fallback(I input, Exception cause) { throw new IllegalStateException("failed: {}", cause); }
        final O call(I input) { try { return run(input); } catch (Exception e) { return fallback(input, e); } }
    }
}

interface Finder<T> { Optional<T> find(Long id); }
abstract class AbstractService<T, K extends Comparable<K>> { protected K last; }
record User(long id, String name, int age) { User { Objects.requireNonNull(name); } static User anonymous() { return new User(0, "}", 1); } }
interface UserRepository extends Iterable<User> { User save(User user); void delete(long... ids); }
@interface Service { String value() default ""; }
@interface Route { String path(); String[] methods() default {"GET"}; Media produces() default @Media("*/*"); }
@interface Media { String value(); } @interface Inject { } @interface Named { String value() default "}"; }
@interface Transactional { boolean readOnly() default false; int timeout() default -1; }
