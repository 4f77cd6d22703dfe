-- The model: what logs and evaluations say, and what follows from it.
-- {id} is an integer primary key, {int} has 64 bits, {text} and {blob} compare bytewise,
-- {clustered} keeps rows in the order of their primary key. Surrogate ids never leave the database.

-- What the database is a function of beside logs and evaluations, and counters of the front page.
CREATE TABLE config (name {text} PRIMARY KEY, value {text} NOT NULL);
CREATE TABLE stat (name {text} PRIMARY KEY, n {int} NOT NULL);

-- Logs: next is the first index that is not here; size, root and view are of the newest checkpoint.
CREATE TABLE log (id {id}, origin {text} NOT NULL UNIQUE, next {int} NOT NULL, size {int} NOT NULL, root {blob} NOT NULL, view {text} NOT NULL);

-- Keys that signed something.
CREATE TABLE signer (id {id}, kid {blob} NOT NULL UNIQUE);

-- Statements, each once. h is the first 60 bits of sid; op is the operator for whom it counts, or 0.
CREATE TABLE stmt (id {id}, h {int} NOT NULL, sid {blob} NOT NULL, kind {text} NOT NULL, signer {int} NOT NULL, time {int} NOT NULL, op {int} NOT NULL, leaf {blob} NOT NULL);
CREATE INDEX stmt_h ON stmt (h);
CREATE INDEX stmt_signer ON stmt (signer, id);
CREATE INDEX stmt_people ON stmt (kind, id) WHERE kind IN ('operator', 'key-add', 'key-revoke', 'retract', 'vouch', 'peer');

-- Where logs hold them. sig: 1 the signature there verifies, 2 it does not, 0 it cannot be checked yet.
CREATE TABLE place (stmt {int} NOT NULL, log {int} NOT NULL, idx {int} NOT NULL, sig SMALLINT NOT NULL, PRIMARY KEY (stmt, log, idx)) {clustered};
CREATE INDEX place_unchecked ON place (stmt) WHERE sig = 0;
-- Other bytes of the same statement, kept until they can be checked.
CREATE TABLE copy (stmt {int} NOT NULL, log {int} NOT NULL, idx {int} NOT NULL, leaf {blob} NOT NULL, PRIMARY KEY (stmt, log, idx)) {clustered};

-- People.
CREATE TABLE operator (id {id}, ident {blob} NOT NULL UNIQUE, voter {text} NOT NULL, registered SMALLINT NOT NULL, name {text} NOT NULL, contact {text} NOT NULL, url {text} NOT NULL, home {text} NOT NULL, fork {text} NOT NULL,
  claims {int} NOT NULL, agreed {int} NOT NULL, differed {int} NOT NULL, alone {int} NOT NULL, copied {int} NOT NULL);
CREATE INDEX operator_name ON operator (name, id);
CREATE TABLE operator_key (op {int} NOT NULL, kid {blob} NOT NULL, role {text} NOT NULL, state {text} NOT NULL, cache {text} NOT NULL, PRIMARY KEY (op, kid)) {clustered};
CREATE INDEX operator_key_kid ON operator_key (kid);

-- Outputs. path is a base name, or drv!output if only builds tell the path (real). h is the first 60 bits of the hash part.
CREATE TABLE output (id {id}, h {int} NOT NULL, path {text} NOT NULL, real SMALLINT NOT NULL, fod SMALLINT NOT NULL, random SMALLINT NOT NULL, system {text} NOT NULL,
  state SMALLINT NOT NULL, agreeing {int} NOT NULL, against {int} NOT NULL, builders {int} NOT NULL, since {int} NOT NULL);
CREATE INDEX output_h ON output (h);

-- What operators that count say about outputs, each thing once: the first claim of it by time; n is which of its statement's. k numbers what an
-- operator says, up to 17 things. rest is a digest of store dir, size and references. path only if the output is real.
CREATE TABLE claim (out {int} NOT NULL, op {int} NOT NULL, k SMALLINT NOT NULL, stmt {int} NOT NULL, n SMALLINT NOT NULL, class SMALLINT NOT NULL, time {int} NOT NULL, nar {blob} NOT NULL, rest {blob} NOT NULL, impl {text} NOT NULL, path {text} NOT NULL, PRIMARY KEY (out, op, k)) {clustered};
-- All other claims: what an operator says again, or beyond 17 things, with a digest of it, and of operator 0 those that do not count.
CREATE TABLE further (out {int} NOT NULL, op {int} NOT NULL, what {blob} NOT NULL, time {int} NOT NULL, stmt {int} NOT NULL, n SMALLINT NOT NULL, PRIMARY KEY (out, op, what, time, stmt, n)) {clustered};
CREATE TABLE op_output (op {int} NOT NULL, state SMALLINT NOT NULL, out {int} NOT NULL, PRIMARY KEY (op, state, out)) {clustered};
CREATE TABLE diff (out {int} NOT NULL, stmt {int} NOT NULL, op {int} NOT NULL, a {blob} NOT NULL, b {blob} NOT NULL, PRIMARY KEY (out, op, stmt)) {clustered};

-- Closures that count, and where an operator stated them. Of the newest in each log, those that are kept, the listed members by state.
CREATE TABLE closure (id {id}, name {text} NOT NULL, op {int} NOT NULL, count {int} NOT NULL, kept SMALLINT NOT NULL, known {int} NOT NULL, agree {int} NOT NULL, differ {int} NOT NULL, missing {int} NOT NULL, copying {int} NOT NULL, fod_agree {int} NOT NULL, fod_differ {int} NOT NULL, fod_missing {int} NOT NULL);
CREATE INDEX closure_name ON closure (name, op);
CREATE TABLE closure_place (op {int} NOT NULL, log {int} NOT NULL, idx {int} NOT NULL, name {text} NOT NULL, closure {int} NOT NULL, PRIMARY KEY (op, log, idx)) {clustered};
CREATE INDEX closure_place_name ON closure_place (op, name, log, idx);
CREATE TABLE closure_output (closure {int} NOT NULL, state SMALLINT NOT NULL, out {int} NOT NULL, PRIMARY KEY (closure, state, out)) {clustered};
CREATE INDEX closure_output_out ON closure_output (out, closure);

-- Lists of closures whose statements have only the digest, as their blobs.
CREATE TABLE list (stmt {id}, paths {blob} NOT NULL);

-- Evaluations. tiers: 1 metadata, 2 derivations.
CREATE TABLE channel (id {id}, name {text} NOT NULL UNIQUE, meta_seq {int} NOT NULL, drv_seq {int} NOT NULL, meta_first {int} NOT NULL, drv_first {int} NOT NULL);
CREATE TABLE evaluation (channel {int} NOT NULL, seq {int} NOT NULL, tiers SMALLINT NOT NULL, revision {text} NOT NULL, time {int} NOT NULL, system {text} NOT NULL, PRIMARY KEY (channel, seq)) {clustered};
CREATE TABLE attr (id {id}, name {text} NOT NULL UNIQUE);
CREATE TABLE meta (id {id}, h {int} NOT NULL, version {text} NOT NULL, json {text} NOT NULL);
CREATE INDEX meta_h ON meta (h);
CREATE TABLE person (id {id}, team SMALLINT NOT NULL, login {text} NOT NULL, name {text} NOT NULL);
CREATE UNIQUE INDEX person_login ON person (team, login);
CREATE TABLE meta_person (meta {int} NOT NULL, person {int} NOT NULL, PRIMARY KEY (meta, person)) {clustered};
-- Derivations with what their outputs come to. h is of all that identifies one: base, system, fod, outputs.
CREATE TABLE drv (id {id}, h {int} NOT NULL, base {text} NOT NULL, system {text} NOT NULL, fod SMALLINT NOT NULL, outputs {text} NOT NULL,
  state SMALLINT NOT NULL, agree {int} NOT NULL, differ {int} NOT NULL, missing {int} NOT NULL, copying {int} NOT NULL, builders {int} NOT NULL, since {int} NOT NULL);
CREATE INDEX drv_h ON drv (h);
CREATE TABLE drv_output (drv {int} NOT NULL, name {text} NOT NULL, out {int} NOT NULL, PRIMARY KEY (drv, name)) {clustered};
CREATE INDEX drv_output_out ON drv_output (out, drv);

-- Facts hold from from_seq until before to_seq; to_seq 0: still.
CREATE TABLE meta_fact (attr {int} NOT NULL, channel {int} NOT NULL, from_seq {int} NOT NULL, to_seq {int} NOT NULL, meta {int} NOT NULL, PRIMARY KEY (attr, channel, from_seq)) {clustered};
CREATE TABLE drv_fact (attr {int} NOT NULL, channel {int} NOT NULL, from_seq {int} NOT NULL, to_seq {int} NOT NULL, drv {int} NOT NULL, error {text} NOT NULL, PRIMARY KEY (attr, channel, from_seq)) {clustered};
CREATE INDEX drv_fact_drv ON drv_fact (drv) WHERE drv > 0;

-- What a channel has now: the facts of both tiers that still hold. rank is 9 - state; queue 0: not to be built.
CREATE TABLE attr_row (channel {int} NOT NULL, name {text} NOT NULL, attr {int} NOT NULL, rank SMALLINT NOT NULL, queue SMALLINT NOT NULL, meta {int} NOT NULL, meta_seq {int} NOT NULL, drv {int} NOT NULL, drv_seq {int} NOT NULL, error {text} NOT NULL, PRIMARY KEY (channel, name)) {clustered};
CREATE INDEX attr_row_rank ON attr_row (channel, rank, name);
CREATE INDEX attr_row_queue ON attr_row (channel, queue, name) WHERE queue > 0;
CREATE INDEX attr_row_drv ON attr_row (drv) WHERE drv > 0;
CREATE INDEX attr_row_attr ON attr_row (attr, channel);
CREATE TABLE person_attr (person {int} NOT NULL, rank SMALLINT NOT NULL, name {text} NOT NULL, channel {int} NOT NULL, PRIMARY KEY (person, rank, name, channel)) {clustered};
CREATE INDEX person_attr_name ON person_attr (person, name, channel);

-- Sums, of a channel (scope 0) or of a person in it; trend holds by how much the sums differ from those at the evaluation before.
CREATE TABLE total (scope {int} NOT NULL, channel {int} NOT NULL, attrs {int} NOT NULL, agree {int} NOT NULL, differ {int} NOT NULL, missing {int} NOT NULL, copying {int} NOT NULL, fod_agree {int} NOT NULL, fod_differ {int} NOT NULL, fod_missing {int} NOT NULL, errors {int} NOT NULL, PRIMARY KEY (scope, channel)) {clustered};
CREATE TABLE trend (scope {int} NOT NULL, channel {int} NOT NULL, seq {int} NOT NULL, agree {int} NOT NULL, differ {int} NOT NULL, missing {int} NOT NULL, copying {int} NOT NULL, fod_agree {int} NOT NULL, fod_differ {int} NOT NULL, fod_missing {int} NOT NULL, errors {int} NOT NULL, PRIMARY KEY (scope, channel, seq)) {clustered};

-- What an evaluation changed. moved: 1 the derivation is another, 2 it came or went, 3 both; versions and states are empty
-- if that tier changed nothing. seen: 1 there is something to show, 2 it got worse. The indexes hold all that a list shows:
-- SQLite would rather read the whole evaluation than look rows up.
CREATE TABLE change (channel {int} NOT NULL, seq {int} NOT NULL, name {text} NOT NULL, attr {int} NOT NULL, moved SMALLINT NOT NULL, from_version {text} NOT NULL, to_version {text} NOT NULL, from_state SMALLINT NOT NULL, to_state SMALLINT NOT NULL, seen SMALLINT NOT NULL, PRIMARY KEY (channel, seq, name)) {clustered};
CREATE INDEX change_seen ON change (channel, seq, name, attr, from_version, to_version, from_state, to_state, seen) WHERE seen > 0;
CREATE INDEX change_worse ON change (channel, seq, name, attr, from_version, to_version, from_state, to_state, seen) WHERE seen = 2;

-- What the search finds. kind: 1 attribute by name, 2 maintainer, 3 team, 4 operator, 5 channel, 6 closure, 7 attribute by all that is said
-- of it, 8 by its homepage; n counts reasons. key is a login, an id or a name; of an attribute, how deep it lies (1 digit), how many words
-- describe it (2 digits), its name, and 4 digits of the label's digest, so that the best of too many answers come first.
CREATE TABLE word (term {text} NOT NULL, kind SMALLINT NOT NULL, key {text} NOT NULL, n {int} NOT NULL, PRIMARY KEY (kind, term, key)) {clustered};
-- What attributes are found by, h is a digest of all its terms, and in how many channels. Only the first and the last of them touch words.
CREATE TABLE label (key {text} NOT NULL, h {int} NOT NULL, n {int} NOT NULL, PRIMARY KEY (key, h)) {clustered};
