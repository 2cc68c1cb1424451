package store

import (
	"context"

	"orderflow/internal/order"
)

// ProductsByID returns those of the products that exist, in no order. It asks the primary: what was just changed shows.
func (s *Store) ProductsByID(ctx context.Context, ids []int64) (products []order.Product, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		products = nil
		return chunks(s.dialect, ascending(ids), func(padded []int64, _ int) error {
			return s.query(ctx, func(scan func(...any) error) error {
				p, err := scanProduct(scan)
				products = append(products, p)
				return err
			}, "SELECT "+productColumns+" FROM products WHERE id IN "+placeholders(len(padded)), anys(padded)...)
		})
	})
	return products, err
}

// ProductPage returns a page of products by id; page counts from 1. The page is found by walking over the ids before it.
func (s *Store) ProductPage(ctx context.Context, page, perPage int) (found order.ProductPage, err error) {
	err = s.readOld(ctx, func(ctx context.Context, ask ask) error {
		found = order.ProductPage{}
		err := ask(ctx, func(scan func(...any) error) error {
			p, err := scanProduct(scan)
			found.Products = append(found.Products, p)
			return err
		}, "SELECT "+productColumns+" FROM products ORDER BY id LIMIT ? OFFSET ?", perPage, (page-1)*perPage)
		if err != nil {
			return err
		}
		return ask(ctx, func(scan func(...any) error) error { return scan(&found.Total, &found.SoldOut) },
			"SELECT (SELECT count(*) FROM products), (SELECT count(*) FROM products WHERE stock = 0)")
	})
	return found, err
}

// StockAdded returns, of these products, how many pieces were put into stock by hand, less those taken out. It reads their movements
// alone. A product without any is missing.
func (s *Store) StockAdded(ctx context.Context, products []int64) (pieces map[int64]int64, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		pieces = map[int64]int64{}
		return chunks(s.dialect, ascending(products), func(padded []int64, _ int) error {
			return s.query(ctx, func(scan func(...any) error) error {
				var product, quantity int64
				err := scan(&product, &quantity)
				pieces[product] = quantity
				return err
			}, "SELECT product_id, sum(quantity) FROM stock_movements WHERE product_id IN "+placeholders(len(padded))+" GROUP BY product_id",
				anys(padded)...)
		})
	})
	return pieces, err
}
