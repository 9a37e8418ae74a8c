"""What a file's name says of its language: the names and globs of ripgrep's types, as far as they are in common use.
And what its first bytes say, of images that models take."""

from __future__ import annotations

FILE_TYPES: dict[str, str] = {
    "asm": "*.S,*.asm,*.s",
    "bazel": "*.BUILD,*.bazel,*.bazelrc,*.bzl,BUILD,WORKSPACE,MODULE.bazel",
    "c": "*.[chH],*.[chH].in,*.cats",
    "clojure": "*.clj,*.cljc,*.cljs,*.cljx",
    "cmake": "*.cmake,CMakeLists.txt",
    "config": "*.cfg,*.conf,*.config,*.ini",
    "cpp": "*.[ChH],*.[ChH].in,*.[ch]pp,*.[ch]pp.in,*.[ch]xx,*.[ch]xx.in,*.cc,*.cc.in,*.hh,*.hh.in,*.inl",
    "csharp": "*.cs",
    "css": "*.css,*.scss",
    "csv": "*.csv",
    "cython": "*.pxd,*.pxi,*.pyx",
    "dart": "*.dart",
    "diff": "*.diff,*.patch",
    "docker": "*Dockerfile*",
    "elixir": "*.eex,*.ex,*.exs,*.heex",
    "erlang": "*.erl,*.hrl",
    "fortran": "*.F,*.F77,*.F90,*.F95,*.f,*.f77,*.f90,*.f95,*.pfo",
    "fsharp": "*.fs,*.fsi,*.fsx",
    "go": "*.go",
    "gradle": "*.gradle,*.gradle.kts",
    "graphql": "*.graphql,*.graphqls",
    "groovy": "*.gradle,*.groovy",
    "h": "*.h,*.hh,*.hpp",
    "haskell": "*.c2hs,*.cpphs,*.hs,*.hsc,*.lhs",
    "html": "*.ejs,*.htm,*.html",
    "java": "*.java,*.jsp,*.jspx,*.properties",
    "jinja": "*.j2,*.jinja,*.jinja2",
    "js": "*.cjs,*.js,*.jsx,*.mjs,*.vue",
    "json": "*.json,composer.lock",
    "julia": "*.jl",
    "jupyter": "*.ipynb,*.jpynb",
    "kotlin": "*.kt,*.kts",
    "less": "*.less",
    "lisp": "*.el,*.lisp,*.lsp,*.sc,*.scm",
    "log": "*.log",
    "lua": "*.lua",
    "make": "*.mak,*.mk,[Gg][Nn][Uu]makefile,[Mm]akefile,[Mm]akefile.am,[Mm]akefile.in",
    "md": "*.markdown,*.md,*.mdown,*.mdx,*.mkdn",
    "nim": "*.nim,*.nimble,*.nimf,*.nims",
    "nix": "*.nix",
    "objc": "*.h,*.m",
    "ocaml": "*.ml,*.mli,*.mll,*.mly",
    "pascal": "*.dpr,*.inc,*.lpr,*.pas,*.pp",
    "perl": "*.PL,*.perl,*.pl,*.plh,*.plx,*.pm,*.t",
    "php": "*.php,*.php3,*.php4,*.php5,*.phtml",
    "protobuf": "*.proto",
    "ps": "*.cdxml,*.ps1,*.ps1xml,*.psd1,*.psm1",
    "py": "*.py,*.pyi",
    "r": "*.R,*.Rmd,*.Rnw,*.r",
    "rst": "*.rst",
    "ruby": "*.gemspec,*.rb,*.rbw,.irbrc,Gemfile,Rakefile,config.ru",
    "rust": "*.rs",
    "sass": "*.sass,*.scss",
    "scala": "*.sbt,*.scala",
    "sh": "*.bash,*.bashrc,*.csh,*.ksh,*.sh,*.tcsh,*.zsh,.bash_profile,.bashrc,.profile,.zprofile,.zshenv,.zshrc",
    "sql": "*.psql,*.sql",
    "svelte": "*.svelte",
    "swift": "*.swift",
    "tex": "*.bib,*.cls,*.dtx,*.ins,*.ltx,*.sty,*.tex",
    "tf": "*.tf,*.tfvars",
    "thrift": "*.thrift",
    "toml": "*.toml,Cargo.lock",
    "ts": "*.cts,*.mts,*.ts,*.tsx",
    "txt": "*.txt",
    "vim": "*.vim",
    "vue": "*.vue",
    "xml": "*.dtd,*.rng,*.xhtml,*.xml,*.xml.dist,*.xsd,*.xsl,*.xslt",
    "yaml": "*.yaml,*.yml",
    "zig": "*.zig",
}

_OTHER_NAMES = {
    "bash": "sh",
    "cs": "csharp",
    "c++": "cpp",
    "golang": "go",
    "javascript": "js",
    "jsx": "js",
    "markdown": "md",
    "powershell": "ps",
    "proto": "protobuf",
    "python": "py",
    "rb": "ruby",
    "rs": "rust",
    "shell": "sh",
    "terraform": "tf",
    "tsx": "ts",
    "typescript": "ts",
    "yml": "yaml",
}


def globs_of(name: str) -> str | None:
    """Globs with commas between them, for globs.compile_filter(); None for a type that is not known."""
    return FILE_TYPES.get(_OTHER_NAMES.get(name, name))


IMAGE_HEAD = 12  # bytes that tell an image's type
_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


def image_type(head: bytes) -> str | None:
    """The media type of an image that begins with *head*: PNG, JPEG, GIF or WebP; None if it is none of them."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for magic, media_type in _IMAGES if head.startswith(magic)), None)
