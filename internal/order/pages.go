package order

// ListQuery selects orders, newest first.
type ListQuery struct {
	UserID  int64  // 0 for any
	Status  Status // "" for any
	PerPage int
	Page    int   // from 1; 0 for paging by cursor
	Before  int64 // paging by cursor: only smaller ids; 0 for the first page
}

// Page is one page of orders.
type Page struct {
	Orders []Order
	Total  int64 // paging by number: all orders that match
	More   bool  // paging by cursor: another page follows
}

// ProductPage is one page of products.
type ProductPage struct {
	Products       []Product
	Total, SoldOut int64 // of all pages
}

// FailedJobPage is one page of failed jobs.
type FailedJobPage struct {
	Jobs  []FailedJob
	Total int64 // of all pages
}

// FailedJobOrderPage is one page of failed jobs with their orders.
type FailedJobOrderPage struct {
	Jobs  []FailedJobOrder
	Total int64 // of all pages
}
