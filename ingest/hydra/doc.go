// Package hydra brings what a Hydra built into a log: it asks which evaluations a
// jobset has, and which builds they have, imports the closures of what was built
// from the binary cache that goes with it (package cache), and states of each
// evaluation what it asked for and what came out (spec/import.md#importing-from-a-hydra).
// A Hydra signs nothing: eval and closure statements are claims of the importer,
// by its own key. A Hydra can also push, by a RunCommand program that leaves events
// in a folder (spec/import.md#events).
//
// What it promises: an evaluation is stated once, when all of its builds have
// ended; one that was added while the list was read is found, and a list that
// changes so that one could be missed is read again; a run that ends at any moment
// is resumed by the next one; answers that are no answers cost bounded memory, and
// one sentence.
package hydra
