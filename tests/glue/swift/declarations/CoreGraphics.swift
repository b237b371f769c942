// Declarations of Apple's Core Graphics that the glue code uses, as documented. They only let tests check types on
// Linux.
import Foundation

public final class CGImage {
    public let width = 0
    public let height = 0
}
public enum CGImageAlphaInfo: UInt32 { case noneSkipLast = 5 }
public struct CGBitmapInfo: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let byteOrder32Big = CGBitmapInfo(rawValue: 4 << 12)
}
public enum CGInterpolationQuality { case none }
public final class CGColorSpace {
    public static let sRGB = ""
    public init?(name: String) {}
}
public final class CGContext {
    public init?(
        data: UnsafeMutableRawPointer?, width: Int, height: Int, bitsPerComponent: Int, bytesPerRow: Int,
        space: CGColorSpace,
        bitmapInfo: UInt32
    ) {}
    public var interpolationQuality = CGInterpolationQuality.none
    public func draw(_ image: CGImage, in rect: CGRect) {}
}
