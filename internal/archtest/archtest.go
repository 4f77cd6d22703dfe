// Package archtest keeps the shape of the project true.
//
// It has only tests. They read the source, go.mod and the documents, and fail
// where one of them says something that another no longer does: an import
// against the arrows of ARCHITECTURE.md, a heavy module with an importer that
// is not on its list, a cited section of spec/ that is gone, a dependency
// without its line in CONTRIBUTING.md, a threat whose test was renamed.
package archtest
