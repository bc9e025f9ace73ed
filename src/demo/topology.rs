//! The shop: its 45 services and the requests that people make of it, as data.
//!
//! A [`Flow`] is a tree of calls. Every flow asks `orders` exactly once (pages show the customer's open orders), so the
//! share of slow requests at `orders` is also the share of slow requests of the shop. Nothing here is random.

/// One service; the table says what its resource says.
pub struct Service {
    pub name: &'static str,
    /// Kubernetes namespace, by team.
    pub team: &'static str,
    pub language: &'static str,
    pub version: &'static str,
}

const fn service(
    name: &'static str,
    team: &'static str,
    language: &'static str,
    version: &'static str,
) -> Service {
    Service { name, team, language, version }
}

pub const SERVICES: [Service; 45] = [
    service("storefront", "front", "nodejs", "5.12.0"),
    service("mobile-bff", "front", "nodejs", "2.8.1"),
    service("api-gateway", "front", "go", "1.31.4"),
    service("cdn-origin", "front", "go", "1.4.0"),
    service("cms", "front", "php", "7.2.9"),
    service("session", "front", "go", "1.9.2"),
    service("feature-flags", "front", "go", "1.1.7"),
    service("auth", "accounts", "java", "4.0.3"),
    service("users", "accounts", "java", "4.2.0"),
    service("addresses", "accounts", "java", "1.3.5"),
    service("loyalty", "accounts", "python", "2.2.2"),
    service("catalog", "catalog", "java", "9.6.1"),
    service("categories", "catalog", "java", "3.0.8"),
    service("images", "catalog", "go", "1.7.3"),
    service("search", "catalog", "java", "6.1.0"),
    service("search-index", "catalog", "rust", "0.9.4"),
    service("ranking", "catalog", "python", "3.3.1"),
    service("reviews", "catalog", "ruby", "2.5.0"),
    service("ratings", "catalog", "ruby", "1.8.6"),
    service("recommendations", "catalog", "python", "4.4.0"),
    service("ads", "catalog", "java", "2.0.1"),
    service("promotions", "pricing", "dotnet", "1.6.0"),
    service("pricing", "pricing", "dotnet", "3.9.2"),
    service("currency", "pricing", "rust", "1.0.5"),
    service("tax", "pricing", "dotnet", "2.1.4"),
    service("coupons", "pricing", "dotnet", "1.2.3"),
    service("inventory", "fulfilment", "go", "2.14.0"),
    service("warehouse", "fulfilment", "java", "5.0.2"),
    service("stock-sync", "fulfilment", "python", "1.5.1"),
    service("shipping", "fulfilment", "go", "3.1.0"),
    service("carrier-adapter", "fulfilment", "java", "1.9.9"),
    service("returns", "fulfilment", "ruby", "1.1.0"),
    service("cart", "orders", "go", "2.7.5"),
    service("checkout", "orders", "go", "4.3.0"),
    service("orders", "orders", "java", "8.0.0"),
    service("order-history", "orders", "java", "2.2.8"),
    service("invoice", "orders", "php", "1.4.4"),
    service("payment", "payments", "java", "6.5.3"),
    service("fraud", "payments", "python", "2.9.0"),
    service("bank-adapter", "payments", "java", "3.2.1"),
    service("notifications", "messaging", "go", "1.8.0"),
    service("email", "messaging", "python", "1.3.3"),
    service("sms", "messaging", "python", "1.0.9"),
    service("push", "messaging", "nodejs", "1.6.2"),
    service("analytics", "messaging", "rust", "0.7.0"),
];

/// The service with the bottleneck, unless another is asked for.
pub const SLOW_SERVICE: &str = "orders";
pub const POOL_CONNECTIONS_MAX: u64 = 10;

/// The position of a service in [`SERVICES`], which is what spans carry.
pub fn index_of(name: &str) -> Option<usize> {
    SERVICES.iter().position(|service| service.name == name)
}

/// One thing a service does on behalf of a request.
pub struct Call {
    pub service: &'static str,
    pub op: Op,
    /// Median time that the service itself needs, without what it waits for.
    pub own_ms: f64,
    /// Of a thousand calls, how many end in a timeout.
    pub timeouts_per_mille: u32,
    pub calls: Vec<Call>,
}

pub enum Op {
    Http {
        method: &'static str,
        route: &'static str,
    },
    /// A statement; `service` is the one that runs it. `pooled` goes through the bounded pool.
    Database {
        system: &'static str,
        operation: &'static str,
        table: &'static str,
        pooled: bool,
    },
    /// A message; `service` is the one that consumes it, later and on its own time.
    Message {
        topic: &'static str,
    },
}

/// What a visitor does. `weight` is its share among all flows; an order is what brings revenue.
pub struct Flow {
    pub weight: u32,
    pub places_order: bool,
    pub root: Call,
}

fn get(service: &'static str, route: &'static str, own_ms: f64, calls: Vec<Call>) -> Call {
    http(service, "GET", route, own_ms, calls)
}

fn post(service: &'static str, route: &'static str, own_ms: f64, calls: Vec<Call>) -> Call {
    http(service, "POST", route, own_ms, calls)
}

fn http(
    service: &'static str,
    method: &'static str,
    route: &'static str,
    own_ms: f64,
    calls: Vec<Call>,
) -> Call {
    Call { service, op: Op::Http { method, route }, own_ms, timeouts_per_mille: 0, calls }
}

fn message(service: &'static str, topic: &'static str, own_ms: f64, calls: Vec<Call>) -> Call {
    Call { service, op: Op::Message { topic }, own_ms, timeouts_per_mille: 0, calls }
}

fn database(
    service: &'static str,
    system: &'static str,
    operation: &'static str,
    table: &'static str,
    own_ms: f64,
) -> Call {
    let op = Op::Database { system, operation, table, pooled: false };
    Call { service, op, own_ms, timeouts_per_mille: 0, calls: Vec::new() }
}

/// What people do, most frequent first; statements of the slow service go through its pool.
pub fn flows(slow: &str) -> Vec<Flow> {
    let mut flows = unhindered();
    flows.iter_mut().for_each(|flow| hinder(&mut flow.root, slow));
    flows
}

fn hinder(call: &mut Call, slow: &str) {
    if let Op::Database { pooled, .. } = &mut call.op {
        *pooled = call.service == slow;
    }
    call.calls.iter_mut().for_each(|child| hinder(child, slow));
}

/// Services that run statements, each of which may be the slow one.
pub fn services_with_database() -> Vec<&'static str> {
    fn walk(call: &Call, found: &mut std::collections::BTreeSet<&'static str>) {
        if matches!(call.op, Op::Database { .. }) {
            found.insert(call.service);
        }
        call.calls.iter().for_each(|child| walk(child, found));
    }
    let mut found = std::collections::BTreeSet::new();
    unhindered().iter().for_each(|flow| walk(&flow.root, &mut found));
    found.into_iter().collect()
}

fn unhindered() -> Vec<Flow> {
    vec![
        browse(30, home()),
        browse(28, product()),
        browse(16, search()),
        browse(8, cart()),
        Flow { weight: 8, places_order: true, root: checkout() },
        browse(4, history()),
        browse(4, login()),
        browse(2, give_back()),
    ]
}

fn browse(weight: u32, root: Call) -> Flow {
    Flow { weight, places_order: false, root }
}

/// The customer's open orders in the head of every page: the one call to the slow service.
fn open_orders() -> Call {
    get("orders", "/orders/open", 2.0, vec![database("orders", "postgresql", "SELECT", "orders", 3.0)])
}

fn visitor() -> Call {
    get("session", "/sessions/{id}", 0.8, vec![database("session", "redis", "GET", "sessions", 0.4)])
}

fn home() -> Call {
    get(
        "storefront",
        "/",
        4.0,
        vec![get(
            "api-gateway",
            "/home",
            1.5,
            vec![
                visitor(),
                get("feature-flags", "/flags", 0.6, vec![]),
                get("cms", "/pages/{slug}", 5.0, vec![get("cdn-origin", "/assets/{path}", 1.0, vec![])]),
                get(
                    "recommendations",
                    "/recommendations/{user}",
                    8.0,
                    vec![get(
                        "ranking",
                        "/rank",
                        6.0,
                        vec![database("ranking", "redis", "MGET", "features", 0.8)],
                    )],
                ),
                get("ads", "/ads", 2.5, vec![]),
                open_orders(),
                message("analytics", "page-views", 1.5, vec![]),
            ],
        )],
    )
}

fn product() -> Call {
    get(
        "storefront",
        "/products/{id}",
        4.0,
        vec![get(
            "api-gateway",
            "/products/{id}",
            1.5,
            vec![
                visitor(),
                get(
                    "catalog",
                    "/products/{id}",
                    3.0,
                    vec![
                        database("catalog", "mongodb", "find", "products", 2.0),
                        get("categories", "/categories/{id}", 1.2, vec![]),
                        get("images", "/images/{id}", 2.0, vec![]),
                    ],
                ),
                get(
                    "pricing",
                    "/prices/{id}",
                    2.0,
                    vec![get("promotions", "/active", 1.5, vec![]), get("currency", "/rates", 0.5, vec![])],
                ),
                get(
                    "inventory",
                    "/stock/{id}",
                    1.2,
                    vec![database("inventory", "postgresql", "SELECT", "stock", 1.5)],
                ),
                get("reviews", "/reviews/{id}", 4.0, vec![get("ratings", "/ratings/{id}", 2.0, vec![])]),
                open_orders(),
            ],
        )],
    )
}

fn search() -> Call {
    get(
        "mobile-bff",
        "/search",
        3.0,
        vec![get(
            "api-gateway",
            "/search",
            1.5,
            vec![
                visitor(),
                get(
                    "search",
                    "/search",
                    4.0,
                    vec![get("search-index", "/query", 9.0, vec![]), get("ranking", "/rank", 6.0, vec![])],
                ),
                get("pricing", "/prices", 3.0, vec![]),
                open_orders(),
            ],
        )],
    )
}

fn cart() -> Call {
    post(
        "storefront",
        "/cart/items",
        3.0,
        vec![post(
            "api-gateway",
            "/cart/items",
            1.5,
            vec![
                visitor(),
                post(
                    "cart",
                    "/carts/{id}/items",
                    2.0,
                    vec![
                        database("cart", "redis", "HSET", "carts", 0.6),
                        get("inventory", "/stock/{id}", 1.2, vec![]),
                        get("coupons", "/coupons/{code}", 1.5, vec![]),
                    ],
                ),
                open_orders(),
            ],
        )],
    )
}

fn checkout() -> Call {
    let mut bank = post("bank-adapter", "/authorizations", 22.0, vec![]);
    bank.timeouts_per_mille = 8;
    let pay = post(
        "payment",
        "/payments",
        3.0,
        vec![
            post("fraud", "/scores", 9.0, vec![]),
            bank,
            database("payment", "postgresql", "INSERT", "payments", 2.0),
        ],
    );
    let place = post(
        "orders",
        "/orders",
        3.0,
        vec![
            database("orders", "postgresql", "INSERT", "orders", 4.0),
            message(
                "notifications",
                "order-placed",
                2.0,
                vec![
                    post("email", "/send", 6.0, vec![]),
                    post("sms", "/send", 4.0, vec![]),
                    post("push", "/send", 2.0, vec![]),
                ],
            ),
            message("warehouse", "order-placed", 5.0, vec![post("stock-sync", "/reservations", 4.0, vec![])]),
            message("invoice", "order-placed", 9.0, vec![]),
        ],
    );
    post(
        "storefront",
        "/checkout",
        4.0,
        vec![post(
            "api-gateway",
            "/checkout",
            1.5,
            vec![
                visitor(),
                post(
                    "checkout",
                    "/checkout",
                    4.0,
                    vec![
                        get(
                            "cart",
                            "/carts/{id}",
                            1.5,
                            vec![database("cart", "redis", "HGETALL", "carts", 0.6)],
                        ),
                        get("addresses", "/addresses/{user}", 1.5, vec![]),
                        get("tax", "/quotes", 2.5, vec![]),
                        get("shipping", "/quotes", 2.5, vec![get("carrier-adapter", "/rates", 8.0, vec![])]),
                        pay,
                        place,
                        post("loyalty", "/points", 2.0, vec![]),
                    ],
                ),
            ],
        )],
    )
}

fn history() -> Call {
    get(
        "storefront",
        "/account/orders",
        3.0,
        vec![get(
            "api-gateway",
            "/orders",
            1.5,
            vec![
                visitor(),
                get(
                    "order-history",
                    "/history/{user}",
                    4.0,
                    vec![open_orders(), get("shipping", "/parcels", 2.0, vec![])],
                ),
            ],
        )],
    )
}

fn login() -> Call {
    post(
        "mobile-bff",
        "/login",
        2.0,
        vec![post(
            "api-gateway",
            "/login",
            1.5,
            vec![
                post(
                    "auth",
                    "/tokens",
                    14.0,
                    vec![get(
                        "users",
                        "/users/{email}",
                        1.5,
                        vec![database("users", "postgresql", "SELECT", "users", 1.5)],
                    )],
                ),
                open_orders(),
            ],
        )],
    )
}

fn give_back() -> Call {
    post(
        "storefront",
        "/returns",
        3.0,
        vec![post(
            "api-gateway",
            "/returns",
            1.5,
            vec![
                visitor(),
                post(
                    "returns",
                    "/returns",
                    5.0,
                    vec![open_orders(), post("shipping", "/labels", 4.0, vec![])],
                ),
            ],
        )],
    )
}

#[cfg(test)]
mod tests;
