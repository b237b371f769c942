// Declarations of Apple's XCTest and Foundation that the app's test uses and Swift for Linux lacks, as documented. They
// only let tests check types on Linux.
import XCTest

final class XCTAttachment {
    enum Lifetime { case keepAlways, deleteOnSuccess }
    init(contentsOfFile url: URL) {}
    var lifetime = Lifetime.deleteOnSuccess
}
extension XCTestCase { func add(_ attachment: XCTAttachment) {} }
extension URL { static var documentsDirectory: URL { fatalError() } }
