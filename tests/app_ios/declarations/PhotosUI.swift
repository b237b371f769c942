// Declarations of Apple's PhotosUI that the app uses, as documented. They only let tests check types on Linux.
import SwiftUI

public struct PHPickerFilter: Sendable { public static let images = PHPickerFilter() }
public struct PhotosPickerItem: Equatable, Hashable, Sendable {
    public func loadTransferable(type: Data.Type) async throws -> Data? { nil }
}
public struct PhotosPicker<Label: View>: View {
    public init(_ title: String, selection: Binding<PhotosPickerItem?>, matching filter: PHPickerFilter? = nil)
    where Label == Text {}
    public var body: Never { fatalError() }
}
