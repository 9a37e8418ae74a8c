/** What a package is for: class Nothing { }. */
@Deprecated
package com.acme;
