package store

import (
	"context"

	"orderflow/internal/order"
)

const productColumns = "id, name, price, currency, stock, active, created_at"

func scanProduct(scan func(...any) error) (order.Product, error) {
	var p order.Product
	err := scan(&p.ID, &p.Name, scanMoney{&p.Price}, &p.Currency, &p.Stock, &p.Active, scanTime{&p.CreatedAt})
	return p, err
}

// Products returns all products by id.
func (s *Store) Products(ctx context.Context) (products []order.Product, err error) {
	err = s.readOld(ctx, func(ctx context.Context, ask ask) error {
		products = nil
		return ask(ctx, func(scan func(...any) error) error {
			p, err := scanProduct(scan)
			products = append(products, p)
			return err
		}, "SELECT "+productColumns+" FROM products ORDER BY id")
	})
	return products, err
}

// Existing returns which of these users and products exist.
func (s *Store) Existing(ctx context.Context, users, products []int64) (knownUsers, knownProducts map[int64]bool, err error) {
	if knownUsers, err = s.known(ctx, "SELECT id FROM users WHERE id IN ", users); err != nil {
		return nil, nil, err
	}
	knownProducts, err = s.known(ctx, "SELECT id FROM products WHERE id IN ", products)
	return knownUsers, knownProducts, err
}

func (s *Store) known(ctx context.Context, query string, ids []int64) (map[int64]bool, error) {
	known := map[int64]bool{}
	err := s.read(ctx, func(ctx context.Context) error {
		return chunks(s.dialect, ascending(ids), func(padded []int64, _ int) error {
			return s.query(ctx, addID(known), query+placeholders(len(padded)), anys(padded)...)
		})
	})
	return known, err
}
