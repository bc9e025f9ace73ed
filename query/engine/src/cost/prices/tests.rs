use super::*;

const HEADER: &str = "item,provider,region,instance_type,lifecycle,usd_per_hour,as_of,source\n";
const UNITS: &str = "cpu_core,default,,,,0.03,2026-01-01,x\nmemory_gib,default,,,,0.01,2026-01-01,x\n";

fn book(rows: &str) -> PriceBook {
    PriceBook::parse(&format!("{HEADER}{UNITS}{rows}")).unwrap()
}

fn kind(provider: &str, region: &str, instance_type: &str, lifecycle: Lifecycle) -> Kind {
    Kind {
        provider: provider.into(),
        region: region.into(),
        instance_type: instance_type.into(),
        lifecycle,
        ..Kind::default()
    }
}

/// Of a node with ten cores and twenty GiB.
fn whole(book: &PriceBook, kind: &Kind) -> f64 {
    let rates = book.rates(10.0, 20.0, 0.0, kind);
    10.0 * rates.cpu_core + 20.0 * rates.memory_gib
}

fn near(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-9, "{a} is not {b}");
}

#[test]
fn the_built_in_book_is_valid_and_prices_what_clouds_sell() {
    let book = PriceBook::parse(DEFAULT).unwrap();
    for item in Item::ALL {
        assert!(book.prices().iter().any(|price| price.item == item), "{}", item.name());
    }
    let of = |provider: &str, region: &str, name: &str| {
        let kind = kind(provider, region, name, Lifecycle::OnDemand);
        let rates = book.rates(4.0, 16.0, 0.0, &kind);
        4.0 * rates.cpu_core + 16.0 * rates.memory_gib
    };
    near(of("aws", "us-east-1", "m5.xlarge"), 0.192);
    near(of("azure", "eastus", "Standard_D4s_v3"), 0.192);
    near(of("", "", "m5.xlarge"), 0.192);
    near(of("", "", "of no known type"), 4.0 * 0.031611 + 16.0 * 0.004237);
}

#[test]
fn a_node_of_known_type_costs_its_price() {
    let book = book("node,aws,us-east-1,big,,1.0,2026-01-01,x\nnode,aws,eu-west-1,big,,1.2,2026-01-01,x\n");
    near(whole(&book, &kind("aws", "us-east-1", "big", Lifecycle::OnDemand)), 1.0);
    near(whole(&book, &kind("aws", "eu-west-1", "big", Lifecycle::OnDemand)), 1.2);
    near(whole(&book, &kind("aws", "elsewhere", "big", Lifecycle::OnDemand)), 1.0);
    near(whole(&book, &kind("gcp", "us-east-1", "big", Lifecycle::OnDemand)), 0.5);
    near(whole(&book, &kind("aws", "us-east-1", "other", Lifecycle::OnDemand)), 0.5);
}

#[test]
fn spot_and_committed_nodes_cost_less() {
    let rows = "node,aws,us-east-1,big,,1.0,2026-01-01,x\nnode,aws,us-east-1,big,spot,0.3,2026-01-01,x\n\
        node,aws,us-east-1,other,,2.0,2026-01-01,x\n\
        cpu_core,default,,,spot,0.003,2026-01-01,x\nmemory_gib,default,,,spot,0.001,2026-01-01,x\n\
        discount_percent,aws,,,committed_1y,37,2026-01-01,x\n";
    let book = book(rows);
    let at = |name: &str, lifecycle| whole(&book, &kind("aws", "us-east-1", name, lifecycle));
    near(at("big", Lifecycle::Spot), 0.3);
    near(at("other", Lifecycle::Spot), 0.2);
    near(at("unknown", Lifecycle::Spot), 0.05);
    near(at("big", Lifecycle::Committed1y), 0.63);
    near(at("unknown", Lifecycle::Committed1y), 0.5 * 0.63);
    near(at("big", Lifecycle::Committed3y), 1.0);
}

#[test]
fn storage_has_classes_and_a_gpu_is_part_of_its_node() {
    let rows = "storage_gib,default,,,,0.1,2026-01-01,x\nstorage_gib,aws,,gp3,,0.2,2026-01-01,x\n\
        gpu,default,,,,0.9,2026-01-01,x\nnode,aws,,big,,2.8,2026-01-01,x\n\
        load_balancer,default,,,,0.025,2026-01-01,x\negress_internet_gib,aws,,,,0.09,2026-01-01,x\n";
    let book = book(rows);
    let aws = kind("aws", "us-east-1", "big", Lifecycle::OnDemand);
    near(book.storage_gib(&aws, "gp3"), 0.2);
    near(book.storage_gib(&aws, "io2"), 0.1);
    near(book.load_balancer(&aws), 0.025);
    near(book.egress(&aws).internet, 0.09);
    near(book.egress(&aws).zone, 0.0);
    let rates = book.rates(10.0, 20.0, 1.0, &aws);
    near(10.0 * rates.cpu_core + 20.0 * rates.memory_gib + rates.gpu, 2.8);
    near(rates.gpu, 1.8);
}

#[test]
fn csv_without_lifecycle_and_json_say_the_same() {
    let csv = "item,provider,region,instance_type,usd_per_hour,as_of,source\n\
        cpu_core,default,,,0.03,2026-01-01,x\nmemory_gib,default,,,0.01,2026-01-01,x\n";
    let json = r#"{"prices": [
        {"item": "cpu_core", "provider": "default", "usd_per_hour": 0.03, "as_of": "2026-01-01", "source": "x"},
        {"item": "memory_gib", "provider": "default", "usd_per_hour": "0.01", "as_of": "2026-01-01", "source": "x"}]}"#;
    assert_eq!(PriceBook::parse(csv), PriceBook::parse(json));
    let wrong = |text: &str| PriceBook::parse(text).unwrap_err().to_string();
    assert!(wrong("[1]").starts_with("1:1: price 1: a price is an object"));
    assert!(wrong("[{\"itm\": 1}]").contains("\"itm\" is not known"));
    assert!(wrong("{\"prices\": 3}").contains("a list of prices"));
    assert!(wrong("[").contains("not JSON"));
}

#[test]
fn mistakes_are_told_with_their_line() {
    let wrong = |rows: &str| PriceBook::parse(&format!("{HEADER}{UNITS}{rows}")).unwrap_err().to_string();
    assert!(wrong("disk,a,,,,1,2026-01-01,x\n").starts_with("4:1: item \"disk\""));
    assert!(wrong("node,a,,t,,free,2026-01-01,x\n").contains("not a number"));
    assert!(wrong("node,a,,t,,-1,2026-01-01,x\n").contains("cannot be a price"));
    assert!(wrong("node,a,,t,,NaN,2026-01-01,x\n").contains("cannot be a price"));
    assert!(wrong("node,a,,t,,inf,2026-01-01,x\n").contains("cannot be a price"));
    assert!(wrong("node,a,,,,1,2026-01-01,x\n").contains("instance_type"));
    assert!(wrong("node,a,,t,cheap,1,2026-01-01,x\n").contains("lifecycle"));
    assert!(wrong("discount_percent,a,,,,1,2026-01-01,x\n").contains("lifecycle"));
    assert!(wrong("discount_percent,a,,,spot,101,2026-01-01,x\n").contains("cannot be a price"));
    assert!(wrong("node,a,,t,,1,yesterday,x\n").contains("as_of"));
    let twice =
        wrong("node,a,r,t,,1,2026-01-01,x\nnode,a,r,t,spot,1,2026-01-01,x\nnode,a,r,t,,2,2026-02-01,x\n");
    assert_eq!(twice, "6:1: the price that line 4 has already; leave one of them out");
    assert!(wrong("node,a,,t,,1,2026-01-01,\n").contains("source"));
    assert!(wrong("node,a\n").starts_with("4:1: a row needs 8 fields"));
    assert!(PriceBook::parse("a,b\n").unwrap_err().to_string().contains("header"));
    assert!(PriceBook::parse(HEADER).unwrap_err().to_string().contains("cpu_core"));
}

#[test]
fn all_mistakes_of_a_book_are_told_where_they_stand() {
    let told = |text: &str| -> Vec<(u64, u64)> {
        let wrong = PriceBook::parse(text).unwrap_err();
        wrong.all().iter().map(|one| (one.line, one.column)).collect()
    };
    let rows = "# theirs\n\n# and ours\nnode,a,,t,,free,2026-01-01,x\nnode,a\n\
        \nnode,a,\"eu, west\",t,cheap,1,2026-01-01,x\nnode,a,r,t,,1,2026-01-01,x\nnode,a,r,t,,2,2026-01-01,x\n";
    // After a header and two rows.
    assert_eq!(told(&format!("{HEADER}{UNITS}{rows}")), [(7, 12), (8, 1), (10, 21), (12, 1)]);
    let json = "[\n  {\"item\": \"disk\"},\n  {\"item\": \"node\", \"usd_per_hour\": \"x\"}]";
    assert_eq!(told(json), [(2, 4), (3, 4)]);
    let wrong = PriceBook::parse(json).unwrap_err().to_string();
    assert!(
        wrong.starts_with("2:4: price 1: item \"disk\"") && wrong.contains("`binnacle check`"),
        "{wrong}"
    );
}

/// Who prices whole nodes may leave cores and memory at nothing: a node costs what the book says all the same.
#[test]
fn a_node_has_its_price_where_its_parts_have_none() {
    let free = "cpu_core,default,,,,0,2026-01-01,x\nmemory_gib,default,,,,0,2026-01-01,x\n";
    let node = "node,aws,,m5.large,,0.096,2026-01-01,x\n";
    let book = PriceBook::parse(&format!("{HEADER}{free}{node}")).unwrap();
    near(whole(&book, &kind("aws", "us-east-1", "m5.large", Lifecycle::OnDemand)), 0.096);
    near(whole(&book, &kind("aws", "us-east-1", "m5.huge", Lifecycle::OnDemand)), 0.0);
    let rates = book.rates(0.0, 8.0, 0.0, &kind("aws", "", "m5.large", Lifecycle::OnDemand));
    near(8.0 * rates.memory_gib, 0.096);
}
