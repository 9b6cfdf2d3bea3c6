//! The orders of this guest. They are in its bytes, where a test writes them into a copy: one build serves every test.

const BYTES: usize = 512;
const MARK: &[u8] = b"ZOO-ORDERS:";

#[used]
static ORDERS: [u8; BYTES] = blank();

const fn blank() -> [u8; BYTES] {
    let mut block = [b' '; BYTES];
    let mut at = 0;
    while at < MARK.len() {
        block[at] = MARK[at];
        at += 1;
    }
    block
}

/// The order of this name, from `name=value; name=value`.
pub fn get(name: &str) -> Option<&'static str> {
    // The compiler must not see the content of these bytes.
    let block: &'static [u8; BYTES] = std::hint::black_box(&ORDERS);
    let text = std::str::from_utf8(&block[MARK.len()..]).unwrap_or_default();
    text.split(';').find_map(|order| order.trim().strip_prefix(name)?.strip_prefix('='))
}

pub fn text(name: &str, otherwise: &str) -> String {
    get(name).unwrap_or(otherwise).to_owned()
}

/// `deed:number` in its two halves.
pub fn counted(order: &str) -> (&str, u64) {
    let (deed, number) = order.split_once(':').unwrap_or((order, "0"));
    (deed, number.parse().unwrap_or(0))
}
