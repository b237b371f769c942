// Stands in for swift-crypto where tests compile the glue code on Linux, by OpenSSL's libcrypto. Not for apps.
import Foundation

#if canImport(Glibc)
import Glibc
#endif

private typealias Pointer = UnsafeMutableRawPointer

private func symbol<Function>(_ name: String, as type: Function.Type) -> Function {
    guard let library = dlopen("libcrypto.so.3", RTLD_NOW), let found = dlsym(library, name) else {
        fatalError("libcrypto.so.3 has no \(name)")
    }
    return unsafeBitCast(found, to: type)
}

public enum SHA256 {
    public static func hash(data: Data) -> [UInt8] {
        let function = symbol(
            "SHA256",
            as: (@convention(c) (UnsafeRawPointer?, Int, UnsafeMutablePointer<UInt8>) -> UnsafeMutablePointer<UInt8>?)
                .self)
        var digest = [UInt8](repeating: 0, count: 32)
        data.withUnsafeBytes { _ = function($0.baseAddress, $0.count, &digest) }
        return digest
    }
}

public enum Curve25519 {
    public enum Signing {
        public struct PublicKey {
            struct WrongSize: Error {}
            let bytes: [UInt8]

            public init(rawRepresentation: Data) throws {
                guard rawRepresentation.count == 32 else { throw WrongSize() }
                bytes = [UInt8](rawRepresentation)
            }

            public func isValidSignature(_ signature: Data, for data: Data) -> Bool {
                let ed25519: Int32 = 1087
                let makeKey = symbol(
                    "EVP_PKEY_new_raw_public_key",
                    as: (@convention(c) (Int32, Pointer?, UnsafePointer<UInt8>, Int) -> Pointer?).self)
                let makeContext = symbol("EVP_MD_CTX_new", as: (@convention(c) () -> Pointer?).self)
                let start = symbol(
                    "EVP_DigestVerifyInit",
                    as: (@convention(c) (Pointer?, Pointer?, Pointer?, Pointer?, Pointer?) -> Int32).self)
                let verify = symbol(
                    "EVP_DigestVerify",
                    as: (@convention(c) (Pointer?, UnsafePointer<UInt8>, Int, UnsafePointer<UInt8>, Int) -> Int32).self)
                let context = makeContext()
                guard start(context, nil, nil, nil, makeKey(ed25519, nil, bytes, 32)) == 1 else { return false }
                return verify(context, [UInt8](signature), signature.count, [UInt8](data), data.count) == 1
            }
        }
    }
}
