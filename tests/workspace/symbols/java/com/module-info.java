/** A module. */
@Deprecated
open module com.acme.app {
    requires transitive java.sql;
    requires static java.desktop;
    exports com.acme.api to com.acme.web, com.acme.cli;
    uses com.acme.api.Plugin;
    provides com.acme.api.Plugin with com.acme.impl.First, com.acme.impl.Second;
}
