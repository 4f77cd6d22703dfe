package web

import (
	"context"

	"github.com/firn-log/firn/tracker/store"
)

// Source is what pages are made of: the read methods of store.DB. All are safe
// for concurrent use; what is not there is store.ErrNotFound.
type Source interface {
	Overview(ctx context.Context) (*store.Overview, error)
	Channel(ctx context.Context, name string) (*store.ChannelView, error)
	Trend(ctx context.Context, kind, key, channel string) ([]store.TrendPoint, error)
	Attributes(ctx context.Context, f store.Filter, p store.Page) (store.Listing[store.AttributeRow], error)
	Changes(ctx context.Context, channel string, seq int64, onlyWorse bool, p store.Page) (store.Listing[store.Change], error)
	Row(ctx context.Context, channel, attr string) (*store.AttributeRow, error)
	Attribute(ctx context.Context, attr string) (*store.AttributeView, error)
	Output(ctx context.Context, path string) (*store.OutputView, []store.AttributeRow, error)
	Maintainer(ctx context.Context, login string) (*store.PersonView, error)
	Team(ctx context.Context, name string) (*store.PersonView, error)
	Operators(ctx context.Context, p store.Page) (store.Listing[store.OperatorView], error)
	Operator(ctx context.Context, id string) (*store.OperatorView, error)
	OperatorOutputs(ctx context.Context, id string, s store.State, p store.Page) (store.Listing[store.PathRow], error)
	Closures(ctx context.Context, p store.Page) (store.Listing[store.ClosureView], error)
	Closure(ctx context.Context, id string) (*store.ClosureView, error)
	ClosurePaths(ctx context.Context, id string, s store.State, p store.Page) (store.Listing[store.PathRow], error)
	Queue(ctx context.Context, channel string, p store.Page) (store.Listing[store.PathRow], error)
	Statement(ctx context.Context, id string) (*store.StatementView, error)
	Logs(ctx context.Context) ([]store.LogView, error)
	Search(ctx context.Context, q string, limit int) ([]store.SearchHit, error)
}
