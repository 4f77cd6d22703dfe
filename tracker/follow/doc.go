// Package follow replays the logs of a policy into the tracker's database
// (spec/tracker.md).
//
// A [Follower] believes nothing that it was merely told: the checkpoint of each
// log satisfies its policy and goes on from the one that is remembered, every
// entry is in that checkpoint's tree, and the signature of every statement was
// verified, in this run or, as a file beside the database says, in an earlier
// one. What is no statement, or is not signed by whom it names, is named and counted and
// for nothing.
//
// Logs are followed at the same time and do not wait for each other. One that is
// down, frozen or caught with two histories is told of in one sentence, and the
// others go on. The database says how far it is, so that a replay goes on after a
// crash with the entry that comes next.
package follow
