use crate::host::{c, s, told};

#[test]
fn a_request_and_its_response() {
    let happens = [
        c("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"),
        s("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    ];
    let expected = ["0 req#1 GET /a 1.1 none", "0 end#1 0/0", "1 res#1 200 \"OK\" 1.1 length=5", "1 end#1 5/5"];
    assert_eq!(told(&happens), expected);
}
