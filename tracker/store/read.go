package store

import (
	"context"
	"errors"
)

func (db *DB) Overview(ctx context.Context) (*Overview, error) { return nil, errors.ErrUnsupported }
func (db *DB) Channel(ctx context.Context, name string) (*ChannelView, error) {
	return nil, errors.ErrUnsupported
}

func (db *DB) Trend(ctx context.Context, kind, key, channel string) ([]TrendPoint, error) {
	return nil, errors.ErrUnsupported
}

func (db *DB) Attributes(ctx context.Context, f Filter, p Page) (Listing[AttributeRow], error) {
	return Listing[AttributeRow]{}, errors.ErrUnsupported
}

func (db *DB) Changes(ctx context.Context, channel string, seq int64, onlyWorse bool, p Page) (Listing[Change], error) {
	return Listing[Change]{}, errors.ErrUnsupported
}

func (db *DB) Attribute(ctx context.Context, attr string) (*AttributeView, error) {
	return nil, errors.ErrUnsupported
}

func (db *DB) Output(ctx context.Context, path string) (*OutputView, []AttributeRow, error) {
	return nil, nil, errors.ErrUnsupported
}

func (db *DB) Maintainer(ctx context.Context, login string) (*PersonView, error) {
	return nil, errors.ErrUnsupported
}

func (db *DB) Team(ctx context.Context, name string) (*PersonView, error) {
	return nil, errors.ErrUnsupported
}

func (db *DB) Operators(ctx context.Context, p Page) (Listing[OperatorView], error) {
	return Listing[OperatorView]{}, errors.ErrUnsupported
}

func (db *DB) Operator(ctx context.Context, id string) (*OperatorView, error) {
	return nil, errors.ErrUnsupported
}

func (db *DB) OperatorOutputs(ctx context.Context, id string, s State, p Page) (Listing[PathRow], error) {
	return Listing[PathRow]{}, errors.ErrUnsupported
}

func (db *DB) Closures(ctx context.Context, p Page) (Listing[ClosureView], error) {
	return Listing[ClosureView]{}, errors.ErrUnsupported
}

func (db *DB) Closure(ctx context.Context, id string) (*ClosureView, error) {
	return nil, errors.ErrUnsupported
}

func (db *DB) ClosurePaths(ctx context.Context, id string, s State, p Page) (Listing[PathRow], error) {
	return Listing[PathRow]{}, errors.ErrUnsupported
}

func (db *DB) Queue(ctx context.Context, channel string, p Page) (Listing[PathRow], error) {
	return Listing[PathRow]{}, errors.ErrUnsupported
}

func (db *DB) Statement(ctx context.Context, id string) (*StatementView, error) {
	return nil, errors.ErrUnsupported
}
func (db *DB) Logs(ctx context.Context) ([]LogView, error) { return nil, errors.ErrUnsupported }
func (db *DB) Search(ctx context.Context, q string, limit int) ([]SearchHit, error) {
	return nil, errors.ErrUnsupported
}
